"""Values of `form`, and of methods that are gone."""

from collections.abc import Mapping
from typing import Any

from absl import logging

# 'auto', and one for each method of convolution/methods.py.
FORMS = ("auto", "plain", "blocks", "rows", "lanes", "gpu")
# Values of methods that are gone. A configuration with one reads as 'auto'.
DROPPED: tuple[str, ...] = ()


def without_dropped(values: Mapping[str, Any]) -> Mapping[str, Any]:
  """Replaces the form of a method that is gone by 'auto', with a warning."""
  form = values.get("form") if isinstance(values, Mapping) else None
  if form not in DROPPED:
    return values
  logging.warning("form=%r is no longer there; form='auto' takes over.", form)
  return {**values, "form": "auto"}
