"""Imports launchers into one process, although they have flags of one name."""

import importlib

from absl import flags


def load(name: str):
  """Returns a module of soundstream_jax, whose flags are not defined."""
  known = set(flags.FLAGS)
  module = importlib.import_module(f"soundstream_jax.{name}")
  for flag in set(flags.FLAGS) - known:
    delattr(flags.FLAGS, flag)
  return module
