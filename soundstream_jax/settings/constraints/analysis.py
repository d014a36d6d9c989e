"""Constraints on windows, and on what losses measure with them."""

from typing import Any

from soundstream_jax import errors


def check(config: Any) -> None:
  """Refuses windows of the spectral loss and of the STFT discriminator."""
  windows = config.loss.spectral_windows
  if not windows or min(windows) < 4:
    raise errors.InputError(
      f"loss.spectral_windows={windows} must hold windows of at least 4 "
      "samples, for example (64,128,256,512,1024,2048)."
    )
  if config.loss.balancer_norm <= 0:
    raise errors.InputError(
      f"loss.balancer_norm={config.loss.balancer_norm} must be above 0, for "
      "example 1.0."
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
