"""Random models for the codec's tests, and what equal codes means."""

import pytest

from tests.codec import random_codec as random_lib


@pytest.fixture(scope="session")
def random_codec():
  """Returns random_codec(config) -> (Codec, params, vectors)."""
  return random_lib.random_codec


@pytest.fixture(scope="session")
def differ_at_near_ties_only():
  """Returns check(codes, expected, latents, vectors, params, kind=...)."""
  return random_lib.differ_at_near_ties_only
