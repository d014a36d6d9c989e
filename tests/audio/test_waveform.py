"""Laws of int16."""

import numpy as np
import pytest

from soundstream_jax.audio import waveform


def test_int16_to_float_and_back_is_the_identity():
  pcm = np.arange(-32_768, 32_768).astype(np.int16)
  audio = waveform.to_float32(pcm)
  assert audio.dtype == np.float32
  assert audio.min() == -1
  np.testing.assert_array_equal(waveform.to_int16(audio), pcm)


def test_int16_clips_and_never_wraps():
  loud = np.array([1.0, 1.5, 100.0, -1.0, -1.5, -1e30], np.float32)
  np.testing.assert_array_equal(
    waveform.to_int16(loud), [32_767] * 3 + [-32_768] * 3
  )
  largest = np.finfo(np.float32).max * np.array([1, -1], np.float32)
  np.testing.assert_array_equal(waveform.to_int16(largest), [32_767, -32_768])
  with pytest.raises(ValueError, match="NaN"):
    waveform.to_int16(np.array([0.0, np.nan]))
