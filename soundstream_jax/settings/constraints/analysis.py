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
