"""Checks that a name is one that clusters accept."""

import re

from soundstream_jax import errors

# RFC 1123: what Kubernetes, DNS and every scheduler take.
_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?")


def check(flag: str, name: str, *, longest: int = 63) -> None:
  """Refuses what is not a DNS label.

  Raises:
    InputError: with the flag, the name and the rule.
  """
  if not _LABEL.fullmatch(name):
    raise errors.InputError(
      f"{flag}={name} is not a DNS label. Use small letters, digits and '-', "
      "with a letter or a digit at both ends."
    )
  if len(name) > longest:
    raise errors.InputError(
      f"{flag}={name} has {len(name)} characters; at most {longest} are "
      "allowed."
    )
