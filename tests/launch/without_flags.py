"""Imports launchers into one process, although they have flags of one name."""

import importlib

from absl import flags


def load(name: str):
  """Returns a module of soundstream_jax, whose flags are not defined."""
  values = flags.FLAGS
  # Those of launchers that tests in this process have imported.
  others = {
    flag: values[flag]
    for flag in list(values)
    if ".launch." in (values.find_module_defining_flag(flag) or "")
  }
  for flag in others:
    delattr(values, flag)
  known = set(values)
  module = importlib.import_module(f"soundstream_jax.{name}")
  for flag in set(values) - known:
    delattr(values, flag)
  for flag, kept in others.items():
    values[flag] = kept
  return module
