"""Laws of randomness: a pure function of (seed, stream name, step)."""

import itertools

import jax
import numpy as np

from soundstream_jax import rng


def bits(seed, name, step):
  key = rng.stream(rng.root(seed), name, step)
  return tuple(jax.random.key_data(key).tolist())


def test_the_same_seed_name_and_step_give_the_same_key():
  assert bits(3, "kmeans", 7) == bits(3, "kmeans", 7)


def test_any_other_seed_name_or_step_gives_another_key():
  names = ("kmeans", "revival", "quantizer_dropout", "generator_init")
  keys = {
    bits(*place) for place in itertools.product((0, 1), names, (0, 1, 2, 1000))
  }
  assert len(keys) == 2 * len(names) * 4


def test_a_step_inside_a_compiled_program_gives_the_same_key():
  compiled = jax.jit(lambda step: rng.stream(rng.root(3), "revival", step))
  key = compiled(np.int32(41))
  assert tuple(jax.random.key_data(key).tolist()) == bits(3, "revival", 41)


def test_streams_at_one_step_are_uncorrelated():
  draws = [
    jax.random.normal(rng.stream(rng.root(0), name, 5), (10_000,))
    for name in ("a", "b")
  ]
  # Four standard deviations of the correlation of independent draws.
  assert abs(np.corrcoef(*draws)[0, 1]) < 4 / 100
