"""Validation: a running training measured on fixed held-out clips."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from soundstream_jax import config as config_lib
from soundstream_jax import metrics as metrics_lib
from soundstream_jax.audio import spectral
from soundstream_jax.devices import sharding
from soundstream_jax.metrics import codebook_use
from soundstream_jax.model import soundstream
from soundstream_jax.train import state as state_lib
from soundstream_jax.train.monitoring import metric_writer

# Clips whose audio and pictures are logged.
SHOWN = 2


@dataclasses.dataclass(frozen=True)
class Validator:
  """Reconstructs fixed clips [N, T, 1] with a run's averaged weights."""

  config: config_lib.Config
  clips: np.ndarray
  reconstruct: Any  # jitted (params, vectors, audio) -> (audio, counts)

  def __call__(
    self,
    state: state_lib.TrainState,
    writer: metric_writer.MetricWriter,
    step: int,
  ) -> dict[str, float]:
    """Measures, logs metrics, audio and pictures; returns the metrics."""
    rate = self.config.audio.sample_rate_hz
    output, counts = self.reconstruct(
      state.ema_params, state.codebooks.vectors, self.clips
    )
    output = np.asarray(output)
    perplexity = np.asarray(codebook_use.perplexity(counts))
    measured = metrics_lib.measure(self.clips, output, sample_rate_hz=rate)
    means = {name: float(np.mean(each)) for name, each in measured.items()}
    metrics = {f"eval/{name}": mean for name, mean in means.items()}
    metrics["eval/perplexity"] = perplexity
    writer.scalars(step, metrics)
    self._write_sound(writer, step, output)
    for layer, uses in enumerate(np.asarray(counts)):
      used = np.repeat(np.arange(uses.size), uses.astype(np.int64))
      writer.histogram(step, f"eval/codes_{layer:02d}", used)
    metric_writer.say(
      "step %d | held out: %s",
      step,
      ", ".join(
        metric.text(means[name])
        for name, metric in metrics_lib.while_training().items()
      ),
    )
    return metrics

  def _write_sound(
    self, writer: metric_writer.MetricWriter, step: int, output: np.ndarray
  ) -> None:
    """Writes the first clips and their reconstructions, heard and seen."""
    rate = self.config.audio.sample_rate_hz
    for i in range(min(SHOWN, len(self.clips))):
      for name, audio in (("input", self.clips[i]), ("output", output[i])):
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
  """Compiles the reconstruction of fixed clips at the full bitrate.

  Every device computes all clips: they are few, and every process then holds
  the result.
  """
  net = soundstream.from_config(config, platform=sharding.platform(mesh))
  size = config.quantizer.codebook_size

  def reconstruct(params, vectors, audio):
    output = net.apply(soundstream.variables(params, vectors), audio)
    codes = output.codes.reshape(-1, output.codes.shape[-1])
    counts = jax.vmap(lambda c: jnp.bincount(c, length=size), in_axes=1)(codes)
    return output.audio, counts

  everywhere = sharding.replicated(mesh)
  return Validator(
    config, clips, jax.jit(reconstruct, out_shardings=everywhere)
  )
