"""Rules that many fields have."""

from collections.abc import Sequence
from typing import Any

from soundstream_jax import errors
from soundstream_jax.settings import fields


def at_least(config: Any, name: str, least: int) -> None:
  """Refuses a smaller value of a field."""
  if fields.get(config, name) < least:
    raise errors.InputError(
      f"{name}={fields.get(config, name)} must be at least {least}."
    )


def one_of(config: Any, name: str, choices: Sequence[str]) -> None:
  """Refuses another value of a field."""
  value = fields.get(config, name)
  if value not in choices:
    raise errors.InputError(
      f"{name}={value!r} is none of {', '.join(choices)}."
      f"{errors.nearest(value, choices)}"
    )
