"""Validation: a running training measured on fixed held-out clips.

Clips are encoded once, spread over the devices, and decoded at some numbers of
quantizer layers. What comes back is measured on the hosts' cores, each process
its share, while the devices decode what follows.
"""

import concurrent.futures
import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh

from soundstream_jax import config as config_lib
from soundstream_jax import metrics as metrics_lib
from soundstream_jax.audio import spectral
from soundstream_jax.devices import sharding
from soundstream_jax.metrics import codebook_use
from soundstream_jax.model import soundstream
from soundstream_jax.train import state as state_lib
from soundstream_jax.train.monitoring import metric_writer

# Layers to measure at, besides all.
DEPTHS = (1, 2, 4, 8)

# Clips whose audio and pictures are logged.
SHOWN = 2


@dataclasses.dataclass(frozen=True)
class Found:
  """What the clips became; d: entries of `Validator.depths`."""

  values: Mapping[str, np.ndarray]  # metric -> [d, N]
  codes: np.ndarray  # int32 [N, F, Q]
  shown: np.ndarray  # float32 [SHOWN, T, 1], the first outputs at all layers


@dataclasses.dataclass(frozen=True)
class Validator:
  """Reconstructs fixed clips [N, T, 1] with a run's averaged weights."""

  config: config_lib.Config
  clips: np.ndarray
  rows: int  # clips at a time, over all devices
  place: Callable[[np.ndarray], Any]  # [rows, T, 1] onto the devices
  # Jitted: (params, vectors, audio) -> codes, spread over the devices as
  # `decode` takes them, and again whole on each.
  encode: Callable[..., tuple[Any, Any]]
  decode: Callable[..., Any]  # (params, vectors, codes, depth) -> audio, whole

  @property
  def depths(self) -> list[int]:
    """Numbers of layers that are measured; the last is all of them."""
    layers = self.config.quantizer.num_quantizers
    return [*(depth for depth in DEPTHS if depth < layers), layers]

  def __call__(
    self,
    state: state_lib.TrainState,
    writer: metric_writer.MetricWriter,
    step: int,
  ) -> dict[str, Any]:
    """Measures, logs metrics, audio and pictures; returns the metrics.

    "eval/NAME" is the mean over the clips at all layers, "eval/NAME/layers_04/
    median", "q25" and "q75" are the quartiles over the clips at four.
    """
    found = self.measure(state)
    size = self.config.quantizer.codebook_size
    layers = np.moveaxis(found.codes, 2, 0).reshape(found.codes.shape[2], -1)
    counts = np.stack([np.bincount(c, minlength=size) for c in layers])
    metrics = {
      f"eval/{name}": float(np.mean(values[-1]))
      for name, values in found.values.items()
    }
    metrics["eval/perplexity"] = np.asarray(codebook_use.perplexity(counts))
    quartiles = {
      name: np.percentile(value, (25, 50, 75), axis=1)
      for name, value in found.values.items()
    }
    for name, values in quartiles.items():
      for depth, three in zip(self.depths, values.T, strict=True):
        for which, value in zip(("q25", "median", "q75"), three, strict=True):
          metrics[f"eval/{name}/layers_{depth:02d}/{which}"] = float(value)
    writer.scalars(step, metrics)
    self._write_sound(writer, step, found.shown)
    for layer, codes in enumerate(layers):
      writer.histogram(step, f"eval/codes_{layer:02d}", codes)
    metric_writer.say(
      "step %d | held out: %s (medians at %s layers)",
      step,
      ", ".join(_text(name, value[1]) for name, value in quartiles.items()),
      " / ".join(map(str, self.depths)),
    )
    return metrics

  def measure(self, state: state_lib.TrainState) -> Found:
    """Encodes, decodes and measures every clip; the same in every process."""
    weights = state.ema_params, state.codebooks.vectors
    total, depths = len(self.clips), self.depths
    codes, shown = [], []
    with concurrent.futures.ThreadPoolExecutor() as pool:
      measured = {}
      for start in range(0, total, self.rows):
        # The last batch is filled up with clips that do not count again.
        numbers = np.arange(start, start + self.rows) % total
        real = numbers[: total - start]
        spread, whole = self.encode(*weights, self.place(self.clips[numbers]))
        outputs = [
          self.decode(*weights, spread, np.int32(depth)) for depth in depths
        ]
        codes.append(np.asarray(whole)[: len(real)])
        for d, output in enumerate(outputs):
          audio = np.asarray(output)
          for clip, one in zip(real, audio, strict=False):
            if clip % jax.process_count() == jax.process_index():
              measured[d, clip] = pool.submit(
                measure_clip, self.config, self.clips[clip], one
              )
        shown += list(audio[: max(0, min(SHOWN, total) - start)])
      measured = {at: future.result() for at, future in measured.items()}
    return Found(
      values=_shared(measured, shape=(len(depths), total)),
      codes=np.concatenate(codes),
      shown=np.stack(shown),
    )

  def _write_sound(
    self, writer: metric_writer.MetricWriter, step: int, shown: np.ndarray
  ) -> None:
    """Writes the first clips and their reconstructions, heard and seen."""
    rate = self.config.audio.sample_rate_hz
    for i, output in enumerate(shown):
      for name, audio in (("input", self.clips[i]), ("output", output)):
        writer.audio(step, f"eval/{name}_{i}", audio, rate)
        picture = spectral.log_mel(
          audio[None, :, 0],
          sample_rate_hz=rate,
          window=1024,
          hop=256,
          bins=64,
        )
        writer.picture(step, f"eval/{name}_{i}_mel", picture[0])


def build(
  config: config_lib.Config, clips: np.ndarray, mesh: Mesh
) -> Validator:
  """Builds the validation of a run on fixed clips [N, T, 1].

  At a time it takes as much sound as a microbatch of training has, at least a
  clip per device: what fits in memory with gradients fits without.
  """
  net = soundstream.from_config(config, platform=sharding.platform(mesh))
  trained = config.batch_size * config.data.crop_samples
  per_device = trained // (
    config.microbatches * mesh.size * config.evaluation.clip_samples
  )
  most = -(-len(clips) // mesh.size)

  def apply(params, vectors, x, method, **options):
    variables = soundstream.variables(params, vectors)
    return net.apply(variables, x, method=method, **options)

  def encode(params, vectors, audio):
    latents = apply(params, vectors, audio, "encode")
    codes = apply(params, vectors, latents, "quantize").codes
    return codes, codes

  def decode(params, vectors, codes, depth):
    latents = apply(params, vectors, codes, "dequantize", depth=depth)
    return apply(params, vectors, latents, "decode")

  batch, everywhere = sharding.batch(mesh), sharding.replicated(mesh)
  return Validator(
    config,
    clips,
    rows=mesh.size * min(most, max(1, per_device)),
    place=lambda audio: state_lib.place(audio, batch),
    encode=jax.jit(encode, out_shardings=(batch, everywhere)),
    decode=jax.jit(decode, out_shardings=everywhere),
  )


def measure_clip(
  config: config_lib.Config, clip: np.ndarray, output: np.ndarray
) -> dict[str, float]:
  """Returns metric -> value of one output, both [T, 1]."""
  measured = metrics_lib.measure(
    clip[None], output[None], sample_rate_hz=config.audio.sample_rate_hz
  )
  return {name: float(value[0]) for name, value in measured.items()}


def _shared(
  measured: Mapping[tuple[int, int], Mapping[str, float]],
  *,
  shape: tuple[int, int],
) -> dict[str, np.ndarray]:
  """Brings together what the processes measured: metric -> [d, N].

  Args:
    measured: (depth's place, clip) -> metric -> value, of this process's clips.
    shape: (depths, clips).
  """
  count = jax.process_count()
  names = list(metrics_lib.while_training())
  values = np.full((len(names), *shape), np.nan)
  for (depth, clip), found in measured.items():
    for place, name in enumerate(names):
      values[place, depth, clip] = found[name]
  if count > 1:
    # As bytes: jax would make float32 of them.
    told = multihost_utils.process_allgather(values.view(np.uint8))
    told = np.ascontiguousarray(told).view(np.float64)
    for clip in range(shape[1]):
      values[:, :, clip] = told[clip % count, :, :, clip]
  return dict(zip(names, values, strict=True))


def _text(name: str, medians: np.ndarray) -> str:
  metric = metrics_lib.METRICS[name]
  values = " / ".join(f"{value:.{metric.decimals}f}" for value in medians)
  return f"{metric.title} {values} {metric.unit}".rstrip()
