"""Imports launchers into one process, although they have flags of one name."""

import importlib

from absl import flags

# Flag -> that of a launcher which tests in this process have imported.
_OTHERS = {}


def load(name: str):
  """Returns a module of soundstream_jax, whose flags are not defined."""
  values = flags.FLAGS
  for flag in list(values):
    if ".launch." in (values.find_module_defining_flag(flag) or ""):
      _OTHERS[flag] = values[flag]
  for flag in _OTHERS:
    delattr(values, flag)
  known = set(values)
  module = importlib.import_module(f"soundstream_jax.{name}")
  for flag in set(values) - known:
    delattr(values, flag)
  for flag, kept in _OTHERS.items():
    values[flag] = kept
  return module
