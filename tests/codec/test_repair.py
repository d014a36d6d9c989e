"""Laws of decoding what is damaged."""

import numpy as np

from soundstream_jax.codec import repair

HOP = 4


class Counting:
  """A codec whose audio shows the codes and layers it was given."""

  hop_samples = HOP
  sample_rate_hz = 100  # 80 ms are two frames

  def decode(self, codes, *, denoise=False):
    sums = codes.sum(axis=1) + 1_000 * codes.shape[1]
    return np.repeat(sums, HOP).astype(np.float32)


CODES = np.arange(1, 31).reshape(10, 3)


def frames(layers):
  audio = repair.decode(Counting(), CODES, np.array(layers))
  assert audio.dtype == np.float32
  return audio.reshape(10, HOP)


def test_what_is_whole_decodes_as_ever():
  np.testing.assert_array_equal(
    frames([3] * 10).reshape(-1), Counting().decode(CODES)
  )


def test_a_frame_of_fewer_layers_is_decoded_with_them():
  layers = [3, 3, 2, 1, 3, 3, 1, 2, 3, 3]
  expected = [CODES[i, :q].sum() + 1_000 * q for i, q in enumerate(layers)]
  np.testing.assert_array_equal(frames(layers)[:, 0], expected)


def test_lost_frames_fade_out_in_80_ms_and_what_follows_is_whole():
  layers = [3, 3, 2, 0, 0, 0, 0, 3, 3, 3]
  found = frames(layers)
  last = CODES[2, :2].sum() + 2_000
  fade = np.maximum(0, 1 - np.arange(16) / 8).reshape(4, HOP)
  np.testing.assert_allclose(found[3:7], last * fade, rtol=1e-6)
  np.testing.assert_array_equal(found[7:, 0], CODES[7:].sum(axis=1) + 3_000)


def test_before_the_first_frame_is_silence():
  assert not frames([0, 0, *[3] * 8])[:2].any()
  assert not frames([0] * 10).any()


def test_missing_codes_are_the_last_that_were_there():
  layers = np.array([3, 1, 0, 2, 3, 0, 0, 1, 3, 3])
  filled = repair.fill(CODES, layers)
  for frame in range(10):
    for layer in range(3):
      good = [i for i in range(frame + 1) if layers[i] > layer]
      assert filled[frame, layer] == CODES[good[-1], layer]
