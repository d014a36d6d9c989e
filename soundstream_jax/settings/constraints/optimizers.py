"""Constraints on the optimizers and their schedule."""

from typing import Any

from soundstream_jax import errors
from soundstream_jax.settings import fields
from soundstream_jax.settings.constraints import rules


def check(config: Any) -> None:
  """Refuses optimizers that cannot be."""
  rules.one_of(config, "optimizer.schedule", ("geometric", "cosine"))
  for name in ("discriminator_beta1", "discriminator_beta2"):
    value = fields.get(config.optimizer, name)
    if value != -1 and not 0 <= value < 1:
      raise errors.InputError(
        f"optimizer.{name}={value} must be in [0, 1), for example 0.9, or -1, "
        "the generator's."
      )
  warmup = config.optimizer.warmup_steps
  if config.optimizer.schedule == "cosine" and warmup >= config.num_steps:
    raise errors.InputError(
      f"optimizer.warmup_steps={warmup} leaves optimizer.schedule=cosine no step "
      f"of num_steps={config.num_steps}. Use at most {config.num_steps - 1}."
    )
