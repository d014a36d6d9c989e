"""Constraints on values of a configuration, alone and together.

Every rule names the field, the value and the fix, so that a run stops before
it has touched a device or a file. The configuration is a `config.Config`.
"""

import math
from typing import Any

from soundstream_jax import errors
from soundstream_jax.settings import fields
from soundstream_jax.settings.constraints import (
  analysis,
  datasets,
  forms,
  kmeans,
  networks,
  optimizers,
  quantizers,
  rules,
)

# Others reach these through `constraints`.
SOURCES = datasets.SOURCES
parse_sources = datasets.parse_sources
as_source = datasets.as_source
crowded_windows = analysis.crowded_windows
kmeans_frames = kmeans.frames
kmeans_frames_per_clip = kmeans.frames_per_clip
kmeans_batches = kmeans.batches
check_kmeans = kmeans.check
without_dropped_form = forms.without_dropped

# A jax key keeps 32 bits of a seed: larger ones would repeat smaller ones.
LARGEST_SEED = 2**32 - 1

# Fields that are paths: `~` in them is a home.
PATHS = (*datasets.SOURCES, "init_from", "compilation_cache")

_LEAST = {
  0: (
    "seed",
    "model.input_gain",
    "quantizer.kmeans_batches",
    "quantizer.kmeans_iterations",
    "quantizer.revival_threshold",
    "discriminator.wave_scales",
    "discriminator.stft_channels",
    "discriminator.start_step",
    "loss.adversarial_ramp_steps",
    "optimizer.learning_rate",
    "optimizer.discriminator_learning_rate",
    "optimizer.warmup_steps",
    "optimizer.decay_per_step",
    "optimizer.clip_norm",
    "optimizer.clip_to_median",
    "optimizer.weight_decay",
    "data.num_workers",
    "data.min_bandwidth_hz",
    "checkpoint.every_seconds",
    "checkpoint.keep_every_steps",
    "max_rollbacks",
  ),
  1: (
    "num_steps",
    "batch_size",
    "max_bad_steps",
    "audio.sample_rate_hz",
    "model.encoder_channels",
    "model.decoder_channels",
    "model.embedding_dim",
    "model.residual_kernel",
    "quantizer.num_quantizers",
    "quantizer.revival_candidates",
    "discriminator.wave_channels",
    "discriminator.wave_max_channels",
    "discriminator.stft_hop",
    "discriminator.every_steps",
    "data.crop_samples",
    "data.num_threads",
    "data.prefetch_batches",
    "microbatches",
    "mesh.fsdp",
    "logging.every_steps",
    "evaluation.every_steps",
    "evaluation.num_clips",
    "evaluation.clip_samples",
    "checkpoint.every_steps",
    "checkpoint.keep",
  ),
}


def check(config: Any) -> None:
  """Refuses values that cannot work, alone or together.

  Raises:
    InputError: names the field, the value, the rule and the fix.
  """
  hop = config.rates.hop_samples
  for name, value in fields.walk(config):
    values = value if isinstance(value, tuple) else (value,)
    if any(isinstance(v, float) and not math.isfinite(v) for v in values):
      raise errors.InputError(f"{name}={value} must be finite.")
    if name.startswith("loss.") and name.endswith("_weight"):
      rules.at_least(config, name, 0)
  for least, names in _LEAST.items():
    for name in names:
      rules.at_least(config, name, least)
  if config.seed > LARGEST_SEED:
    raise errors.InputError(
      f"seed={config.seed} must be at most {LARGEST_SEED}."
    )
  for name in ("data.crop_samples", "evaluation.clip_samples"):
    samples = fields.get(config, name)
    if samples % hop:
      raise errors.InputError(
        f"{name}={samples} is not a multiple of the hop {hop}, the product of "
        f"model.strides={config.model.strides}. Use "
        f"{max(1, samples // hop) * hop}."
      )
  for name in (
    "quantizer.ema_decay",
    "loss.balancer_decay",
    "optimizer.beta1",
    "optimizer.beta2",
    "optimizer.ema_decay",
  ):
    if not 0 <= fields.get(config, name) < 1:
      raise errors.InputError(
        f"{name}={fields.get(config, name)} must be in [0, 1), for example 0.9."
      )
  networks.check(config)
  optimizers.check(config)
  quantizers.check(config)
  analysis.check(config)
  datasets.check(config)
  parse_profile_steps(config.profile_steps)


def parse_profile_steps(text: str) -> range:
  """Returns the steps of 'FIRST:LAST', both included and counted from 1.

  Raises:
    InputError: it is neither empty nor of that form.
  """
  if not text:
    return range(0)
  first, _, last = text.partition(":")
  good = first.isdecimal() and last.isdecimal()
  if not good or not 1 <= int(first) <= int(last):
    raise errors.InputError(
      f"profile_steps={text} must be FIRST:LAST with 1 <= FIRST <= LAST, for "
      "example 10:13."
    )
  return range(int(first), int(last) + 1)
