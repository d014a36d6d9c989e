"""Models to export: trained ones, or fresh ones whose codes are all in use."""

import dataclasses
import pathlib

import jax
import jax.numpy as jnp
import numpy as np

import soundstream_jax
from soundstream_jax import config as config_lib
from soundstream_jax import rng
from soundstream_jax.checkpoint import exported
from soundstream_jax.model import kmeans, quantizers, soundstream
from soundstream_jax.settings import presets

# What the encoder computes at once: its activations are large.
_PIECE_S = 4


@dataclasses.dataclass(frozen=True)
class Model:
  """A model to measure, and its name in the tables."""

  name: str
  exported: exported.Exported


def config_of(preset: str, channels: int) -> config_lib.Config:
  """Returns a preset with so many channels on both sides; 0 keeps its own."""
  values = presets.load(preset)
  if channels:
    values.model.encoder_channels = channels
    values.model.decoder_channels = channels
  return config_lib.from_dict(values)


def trained(folder: str) -> Model:
  """Opens a workdir of a run or an exported model.

  Raises:
    InputError: it is neither.
  """
  model = soundstream_jax.load(folder).as_exported()
  channels = model.config.model.encoder_channels
  return Model(f"C={channels}, {model.step:,} steps", model)


def fresh(
  config: config_lib.Config, audio: np.ndarray, cache: pathlib.Path
) -> Model:
  """Returns a model of fresh parameters with codebooks fitted to a sound.

  Layer by layer, as before the first step of training, so that codes are used
  evenly. It must not be the sound that is measured, nor short: k-means leaves
  nothing of few frames, and what rounding leaves decides the last codes.

  Args:
    config: of the model.
    audio: float32 [N], whole frames; at least one frame per code.
    cache: folder of such a model, made if it is not there.
  """
  name = f"C={config.model.encoder_channels}"
  if not exported.is_exported(cache):
    exported.write(cache, _fitted(config, audio))
  return Model(name, exported.read(cache))


def _fitted(config: config_lib.Config, audio: np.ndarray) -> exported.Exported:
  root = rng.root(config.seed)
  params = soundstream.init(config, rng.stream(root, "generator_init", 0))
  net = soundstream.from_config(config)
  vectors = jnp.zeros(quantizers.codebooks_shape(config), jnp.float32)
  variables = soundstream.variables(params, vectors)
  hop, rate_hz = config.rates.hop_samples, config.rates.sample_rate_hz
  piece = _PIECE_S * rate_hz // hop * hop
  latents = [
    net.apply(
      variables, audio[None, start : start + piece, None], method="encode"
    )
    for start in range(0, len(audio), piece)
  ]
  frames = jnp.concatenate([each[0] for each in latents])
  q = config.quantizer
  fit = jax.jit(
    lambda frames: (
      kmeans.fit_layers(
        frames,
        rng.stream(root, "kmeans", 0),
        params.get("quantizer", {}),
        kind=quantizers.of(q),
        num_quantizers=q.num_quantizers,
        size=q.codebook_size,
        iterations=q.kmeans_iterations,
        frames_per_batch=len(frames),
      ).vectors
    )
  )
  return exported.Exported(
    config, params, np.asarray(fit(frames)), step=0, weights="raw"
  )
