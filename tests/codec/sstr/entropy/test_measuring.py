"""Laws of measuring tables: what is counted, and what tables save."""

import numpy as np
import pytest

from soundstream_jax import errors
from soundstream_jax.codec.sstr.entropy import measuring, plane_coder


def geometric(random, frames, *, ratio):
  codes = random.geometric(1 - ratio, (frames, 3)) - 1
  return np.minimum(codes, 31).astype(np.int32)


def test_the_saving_is_what_other_codes_save_in_whole_planes():
  random = np.random.default_rng(0)
  parts = [geometric(random, 600, ratio=0.7) for _ in range(8)]
  made, saved = measuring.measure(
    parts, codebook_size=32, fingerprint=bytes(32)
  )
  fresh = geometric(random, 5_120, ratio=0.7)
  planes, layers = measuring.to_planes(fresh, frames=256)
  np.testing.assert_array_equal(planes[4], fresh[256:512, 1])
  assert layers[4] == 1
  blobs = plane_coder.encode_planes(planes, layers, made)
  found = 1 - sum(map(len, blobs)) / (len(planes) * 160)
  assert saved.shape == (3,)
  assert abs(saved.mean() - found) < 0.01
  entropies = measuring.entropy_bits(made)
  assert (np.abs(1 - saved - entropies / 5) < 0.02).all()


def test_codes_without_a_pattern_are_not_said_to_save_anything():
  random = np.random.default_rng(0)
  parts = [random.integers(0, 32, (600, 3)) for _ in range(8)]
  _, saved = measuring.measure(parts, codebook_size=32, fingerprint=bytes(32))
  np.testing.assert_array_equal(saved, np.zeros(3))


@pytest.mark.parametrize("frames", [[], [511], [300, 255]])
def test_too_few_codes_are_refused(frames):
  with pytest.raises(errors.InputError, match=f"{sum(frames)} frames are too"):
    measuring.measure(
      [np.zeros((count, 3), np.int32) for count in frames],
      codebook_size=32,
      fingerprint=bytes(32),
    )
