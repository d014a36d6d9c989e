"""Constraints on the networks."""

from typing import Any

from soundstream_jax import errors
from soundstream_jax.settings.constraints import forms, rules


def check(config: Any) -> None:
  """Refuses networks that cannot be built."""
  rules.one_of(config, "model.encoder", ("learned", "mel"))
  rules.one_of(config, "model.activation", ("elu", "snake"))
  rules.one_of(config, "model.film", ("none", "encoder", "decoder"))
  rules.one_of(config, "form", forms.FORMS)
  rules.one_of(
    config, "model.compute_dtype", ("float32", "bfloat16", "float64")
  )
  rules.one_of(config, "train_dtype", ("", "float32", "bfloat16"))
  if config.train_dtype and config.model.compute_dtype == "float64":
    raise errors.InputError(
      f"train_dtype={config.train_dtype} is narrower than model.compute_dtype="
      "float64, with which all of training is float64. Leave train_dtype out."
    )
  rules.one_of(config, "discriminator.wave_norm", ("weight", "none"))
  rules.one_of(config, "discriminator.stft_norm", ("layer", "weight", "none"))
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
