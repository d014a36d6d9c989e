"""Constraints on windows, and on what losses measure with them."""

from typing import Any

from soundstream_jax import errors

# That of all magnitudes, audio/spectral.POWER_FLOOR: below there is no sound.
LEAST_LOG_FLOOR = 1e-4


def check(config: Any) -> None:
  """Refuses windows of the spectral loss and of the STFT discriminator."""
  windows = config.loss.spectral_windows
  if not windows or min(windows) < 4:
    raise errors.InputError(
      f"loss.spectral_windows={windows} must hold windows of at least 4 "
      "samples, for example (64,128,256,512,1024,2048)."
    )
  _check_terms(config.loss)
  _check_bins(config.loss)
  _check_schedules(config.loss)
  if config.loss.balancer_norm <= 0:
    raise errors.InputError(
      f"loss.balancer_norm={config.loss.balancer_norm} must be above 0, for "
      "example 1.0."
    )
  discriminator = config.discriminator
  window, several = discriminator.stft_window, discriminator.stft_windows
  for name, value in (("window", window), *(("windows", w) for w in several)):
    if value < 128 or value & (value - 1):
      has = f"={window}" if name == "window" else f" has {value}; it"
      raise errors.InputError(
        f"discriminator.stft_{name}{has} must be a power of two of at least "
        "128; six stages divide its half by 64."
      )
  if len(set(several)) < len(several):
    raise errors.InputError(
      f"discriminator.stft_windows={several} has a window twice. Name each once."
    )
  if discriminator.stft_hop > window:
    raise errors.InputError(
      f"discriminator.stft_hop={discriminator.stft_hop} is longer than "
      f"discriminator.stft_window={window}. Use {window // 4}."
    )
  hop = config.rates.hop_samples
  longest_of = {"loss.spectral_windows": max(windows)}
  if discriminator.stft_channels:
    name = f"discriminator.stft_window{'s' if several else ''}"
    longest_of[name] = max(several or (window,))
  for name, longest in longest_of.items():
    if config.data.crop_samples < longest:
      raise errors.InputError(
        f"data.crop_samples={config.data.crop_samples} is shorter than a "
        f"window of {longest} samples in {name}. Use at least "
        f"{-(-longest // hop) * hop}."
      )


def crowded_windows(loss: Any) -> list[tuple[int, int]]:
  """Returns (window, mel bins) where there are more bins than frequencies."""
  return [
    (window, bins)
    for window, bins in zip(
      loss.spectral_windows, loss.bins_of_windows, strict=True
    )
    if bins > window // 2 + 1
  ]


def _check_terms(loss: Any) -> None:
  """Refuses a spectral loss of no terms, and a floor below all sound."""
  if loss.reconstruction_weight and not loss.linear_weight + loss.log_weight:
    raise errors.InputError(
      "loss.linear_weight=0.0 and loss.log_weight=0.0 leave nothing of the "
      "spectral loss. Set one, or loss.reconstruction_weight=0.0."
    )
  if loss.log_floor < LEAST_LOG_FLOOR:
    raise errors.InputError(
      f"loss.log_floor={loss.log_floor} must be at least {LEAST_LOG_FLOOR}, "
      "the floor of all magnitudes."
    )


def _check_bins(loss: Any) -> None:
  """Refuses mel bins that a window cannot have.

  One number for all windows is the paper's, and stays: at its short windows 64
  bins repeat each other, of which a run says so when it starts.
  """
  bins, windows = loss.mel_bins, loss.spectral_windows
  if not isinstance(bins, tuple):
    if bins < 1:
      raise errors.InputError(f"loss.mel_bins={bins} must be at least 1.")
    return
  if len(bins) != len(windows):
    raise errors.InputError(
      f"loss.mel_bins={bins} has {len(bins)} numbers for the {len(windows)} "
      f"windows of loss.spectral_windows={windows}. Give one for each, or one "
      "number for all."
    )
  if min(bins) < 1:
    raise errors.InputError(f"loss.mel_bins={bins} must all be at least 1.")
  for window, too_many in crowded_windows(loss):
    raise errors.InputError(
      f"loss.mel_bins={bins} has {too_many} bins for a window of {window} "
      f"samples, which has {window // 2 + 1} frequencies. Use fewer, such as "
      f"{max(1, window // 6)}."
    )


def _check_schedules(loss: Any) -> None:
  """Refuses a fade that does not go from one step to a later one."""
  fade = loss.waveform_fade
  if len(fade) != 2 or not (fade == (0, 0) or 0 <= fade[0] < fade[1]):
    raise errors.InputError(
      f"loss.waveform_fade={fade} must be a step and a later one, for example "
      "(10000,20000); (0,0) turns it off."
    )
