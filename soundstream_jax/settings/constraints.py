"""Constraints on values of a configuration, alone and together.

Every rule names the field, the value and the fix, so that a run stops before
it has touched a device or a file. The configuration is a `config.Config`.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from absl import logging

from soundstream_jax import errors
from soundstream_jax.settings import fields, lists

# A jax key keeps 32 bits of a seed: larger ones would repeat smaller ones.
LARGEST_SEED = 2**32 - 1

# Values of `form`: 'auto', and one for each method of convolution/methods.py.
FORMS = ("auto", "plain", "blocks", "rows", "lanes")
# Values of methods that are gone. A configuration with one reads as 'auto'.
DROPPED_FORMS: tuple[str, ...] = ()

# Fields that name prepared datasets.
SOURCES = (
  "data.sources",
  "data.speech",
  "data.music",
  "data.noise",
  "data.rooms",
)

# Fields that are paths: `~` in them is a home.
PATHS = (*SOURCES, "init_from", "compilation_cache")

_LEAST = {
  0: (
    "seed",
    "quantizer.kmeans_batches",
    "quantizer.kmeans_iterations",
    "quantizer.revival_threshold",
    "discriminator.wave_scales",
    "discriminator.stft_channels",
    "discriminator.start_step",
    "optimizer.learning_rate",
    "optimizer.discriminator_learning_rate",
    "optimizer.warmup_steps",
    "optimizer.decay_per_step",
    "optimizer.clip_norm",
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
    "loss.mel_bins",
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
      _at_least(config, name, 0)
  for least, names in _LEAST.items():
    for name in names:
      _at_least(config, name, least)
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
    "optimizer.beta1",
    "optimizer.beta2",
    "optimizer.ema_decay",
  ):
    if not 0 <= fields.get(config, name) < 1:
      raise errors.InputError(
        f"{name}={fields.get(config, name)} must be in [0, 1), for example 0.9."
      )
  _check_networks(config)
  _check_analysis(config)
  _check_data(config)
  parse_profile_steps(config.profile_steps)


def without_dropped_form(values: Mapping[str, Any]) -> Mapping[str, Any]:
  """Replaces the form of a method that is gone by 'auto', with a warning."""
  form = values.get("form") if isinstance(values, Mapping) else None
  if form not in DROPPED_FORMS:
    return values
  logging.warning("form=%r is no longer there; form='auto' takes over.", form)
  return {**values, "form": "auto"}


def parse_sources(
  text: str, *, name: str = "data.sources"
) -> list[tuple[str, float]]:
  r"""Splits 'DIR:weight,DIR' into (folder, weight); a missing weight is 1.

  A comma in a name is written `\,`. A name that ends like a weight, as in
  take:2, is written with one: take:2:1.

  Raises:
    InputError: an empty folder or a weight that is not a positive number.
  """
  sources = []
  for item in lists.split(text):
    folder, colon, weight = item.rpartition(":")
    if not colon or "/" in weight:
      folder, weight = item, "1"
    try:
      number = float(weight)
    except ValueError:
      number = -1.0
    if not folder or not 0 < number < math.inf:
      named = f" A folder of this name is {item}:1." if folder else ""
      raise errors.InputError(
        f"{name} has {item!r}; write DIR:weight with a weight above 0, "
        f"for example speech:0.7,music:0.3.{named}"
      )
    sources.append((folder, number))
  return sources


def as_source(folder: str) -> str:
  """Returns what `parse_sources` reads as this folder."""
  text = lists.join([folder])
  weight = folder.rpartition(":")[2]
  return f"{text}:1" if ":" in folder and "/" not in weight else text


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


def kmeans_frames(config: Any) -> int:
  """Frames that the k-means start of the codebooks sees; 0 without it."""
  per_batch = config.batch_size * config.rates.num_frames(
    config.data.crop_samples
  )
  return config.quantizer.kmeans_batches * per_batch


def check_kmeans(config: Any) -> None:
  """Refuses fewer frames than codes, for a run that starts with k-means.

  Raises:
    InputError: with the numbers and the number of batches that suffices.
  """
  frames, size = kmeans_frames(config), config.quantizer.codebook_size
  if 0 < frames < size:
    batches = config.quantizer.kmeans_batches
    needed = -(-size * batches // frames)
    raise errors.InputError(
      f"quantizer.kmeans_batches={batches} gives k-means {frames} frames for "
      f"{size} codes (batch_size={config.batch_size}, data.crop_samples="
      f"{config.data.crop_samples}). Use quantizer.kmeans_batches={needed} or "
      "more; 16 frames per code are better."
    )


def _check_data(config: Any) -> None:
  data = config.data
  for name in ("data.gain_db", "data.noise_gain_db"):
    bounds = fields.get(config, name)
    if len(bounds) != 2 or bounds[0] > bounds[1]:
      raise errors.InputError(
        f"{name}={bounds} must be a lower and an upper bound in dB, for "
        "example (-12.0,3.0)."
      )
  for name in ("data.denoise_share", "data.filter_share"):
    if not 0 <= fields.get(config, name) <= 1:
      raise errors.InputError(
        f"{name}={fields.get(config, name)} must be from 0 to 1, for example 0.5."
      )
  for name in SOURCES:
    parse_sources(fields.get(config, name), name=name)
  shares = dict(fields.walk(data.mixture))
  for name, share in shares.items():
    if share < 0:
      raise errors.InputError(
        f"data.mixture.{name}={share} must be at least 0."
      )
  if any(shares.values()) and data.sources:
    raise errors.InputError(
      f"data.sources={data.sources} is not read where data.mixture has shares. "
      "Set data.speech, data.music, data.noise and data.rooms instead."
    )
  if 2 * data.min_bandwidth_hz > config.audio.sample_rate_hz:
    raise errors.InputError(
      f"data.min_bandwidth_hz={data.min_bandwidth_hz} is above half of "
      f"audio.sample_rate_hz={config.audio.sample_rate_hz}: no record has it. "
      f"Use {0.4 * config.audio.sample_rate_hz:g} or less."
    )


def _check_networks(config: Any) -> None:
  _one_of(config, "model.encoder", ("learned", "mel"))
  _one_of(config, "model.film", ("none", "encoder", "decoder"))
  _one_of(config, "form", FORMS)
  _one_of(config, "model.compute_dtype", ("float32", "bfloat16", "float64"))
  _one_of(config, "discriminator.wave_norm", ("weight", "none"))
  _one_of(config, "discriminator.stft_norm", ("layer", "weight", "none"))
  if config.model.residual_hidden_ratio <= 0:
    raise errors.InputError(
      f"model.residual_hidden_ratio={config.model.residual_hidden_ratio} must "
      "be above 0, for example 0.5."
    )
  if config.discriminator.wave_channels % 4:
    raise errors.InputError(
      f"discriminator.wave_channels={config.discriminator.wave_channels} is "
      "not a multiple of 4, the inputs per group. Use 4, 8 or 16."
    )


def _check_analysis(config: Any) -> None:
  """Windows of the spectral loss and of the STFT discriminator."""
  windows = config.loss.spectral_windows
  if not windows or min(windows) < 4:
    raise errors.InputError(
      f"loss.spectral_windows={windows} must hold windows of at least 4 "
      "samples, for example (64,128,256,512,1024,2048)."
    )
  window = config.discriminator.stft_window
  if window < 128 or window & (window - 1):
    raise errors.InputError(
      f"discriminator.stft_window={window} must be a power of two of at least "
      "128; six stages divide its half by 64."
    )
  if config.discriminator.stft_hop > window:
    raise errors.InputError(
      f"discriminator.stft_hop={config.discriminator.stft_hop} is longer than "
      f"discriminator.stft_window={window}. Use {window // 4}."
    )
  hop = config.rates.hop_samples
  longest_of = {"loss.spectral_windows": max(windows)}
  if config.discriminator.stft_channels:
    longest_of["discriminator.stft_window"] = window
  for name, longest in longest_of.items():
    if config.data.crop_samples < longest:
      raise errors.InputError(
        f"data.crop_samples={config.data.crop_samples} is shorter than a "
        f"window of {longest} samples in {name}. Use at least "
        f"{-(-longest // hop) * hop}."
      )


def _at_least(config: Any, name: str, least: int) -> None:
  if fields.get(config, name) < least:
    raise errors.InputError(
      f"{name}={fields.get(config, name)} must be at least {least}."
    )


def _one_of(config: Any, name: str, choices: Sequence[str]) -> None:
  value = fields.get(config, name)
  if value not in choices:
    raise errors.InputError(
      f"{name}={value!r} is none of {', '.join(choices)}."
      f"{errors.nearest(value, choices)}"
    )
