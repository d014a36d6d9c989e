"""Laws of wav files that are written."""

import numpy as np
import pytest
import soundfile

from soundstream_jax import errors
from soundstream_jax.audio import reading, wav


@pytest.mark.parametrize("channels", [None, 1, 2])
def test_what_is_written_is_read_back_to_half_a_step(tmp_path, channels):
  audio = np.random.default_rng(0).uniform(-1, 1, (500, channels or 1))
  path = tmp_path / "a.wav"
  wav.write(path, audio[:, 0] if channels is None else audio, 16_000)
  read, rate_hz = reading.read(path)
  assert rate_hz == 16_000
  assert soundfile.info(path).subtype == "PCM_16"
  np.testing.assert_allclose(
    read, np.clip(audio, -1, 32_767 / 32_768), atol=1.6e-5
  )
  assert [file.name for file in tmp_path.iterdir()] == ["a.wav"]


def test_a_failed_write_leaves_the_old_file_and_nothing_else(
  tmp_path, monkeypatch
):
  path = tmp_path / "a.wav"
  wav.write(path, np.zeros(10), 24_000)
  before = path.read_bytes()
  with pytest.raises(ValueError, match="NaN"):
    wav.write(path, np.full(10, np.nan), 24_000)
  with monkeypatch.context() as patch, pytest.raises(errors.DiskError):
    patch.setattr("os.replace", _no_space)
    wav.write(path, np.ones(10), 24_000)
  assert path.read_bytes() == before
  assert [file.name for file in tmp_path.iterdir()] == ["a.wav"]


def _no_space(*_):
  raise OSError(28, "No space left on device")


def test_writing_to_a_bad_place_names_the_place(tmp_path):
  (tmp_path / "file").write_text("")
  for path in (tmp_path / "none" / "a.wav", tmp_path / "file" / "a.wav"):
    place = f"a.wav cannot be written to {path.parent} "
    with pytest.raises(errors.InputError, match=place):
      wav.write(path, np.zeros(10), 24_000)
  with pytest.raises(errors.InputError, match=r"Name it a\.wav"):
    wav.write(tmp_path / "a.mp3", np.zeros(10), 24_000)
