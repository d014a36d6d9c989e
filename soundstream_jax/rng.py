"""Randomness is a pure function of (seed, stream name, step)."""

import zlib

import jax


def root(seed: int) -> jax.Array:
  """Returns the key that every stream of a run comes from."""
  return jax.random.key(seed)


def stream(root_key: jax.Array, name: str, step) -> jax.Array:
  """Returns the key of stream `name` at `step` (an int or an int32 scalar).

  Streams do not see each other: adding one changes no other. No key is kept in
  a checkpoint, since seed and step say it all.
  """
  named = jax.random.fold_in(root_key, zlib.crc32(name.encode()))
  return jax.random.fold_in(named, step)
