"""Laws of wav files that are written."""

import io

import numpy as np
import pytest
import soundfile

from soundstream_jax import errors
from soundstream_jax.audio import reading, wav, waveform


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


class _Counted:
  """Counts what is written, and keeps its beginning."""

  def __init__(self):
    self.size, self.start = 0, b""

  def write(self, data):
    self.size += len(data)
    self.start = (self.start + data)[:100]


@pytest.mark.parametrize("channels", [1, 2, 6])
def test_a_file_written_piece_by_piece_is_libsndfiles_byte_for_byte(
  tmp_path, channels
):
  audio = np.random.default_rng(0).uniform(-1.1, 1.1, (5_000, channels))
  expected = tmp_path / "expected.wav"
  soundfile.write(expected, waveform.to_int16(audio), 22_050, subtype="PCM_16")
  found = io.BytesIO()
  writer = wav.Writer(found, 22_050, channels=channels, samples=5_000)
  for start in (0, 1, 4_000):
    stop = {0: 1, 1: 4_000, 4_000: 5_000}[start]
    writer.write(audio[start:stop])
  writer.close()
  assert found.getvalue() == expected.read_bytes()


def test_a_file_has_the_samples_that_its_head_says():
  writer = wav.Writer(_Counted(), 24_000, channels=1, samples=10)
  writer.write(np.zeros((9, 1)))
  with pytest.raises(ValueError, match="1 samples fewer"):
    writer.close()
  with pytest.raises(ValueError, match="1 samples more"):
    writer.write(np.zeros((2, 1)))


@pytest.mark.parametrize("over", [-1, 0, 1])
def test_past_4_gib_a_file_is_rf64_and_below_it_is_a_plain_one(tmp_path, over):
  """Read by libsndfile and by ourselves, from a file that is mostly a hole."""
  most = (2**32 - 1 - 36) // 4  # of two channels
  samples = most + over
  file = _Counted()
  wav.Writer(file, 48_000, channels=2, samples=samples)
  assert file.start[:4] == (b"RF64" if over > 0 else b"RIFF")
  path = tmp_path / "long.wav"
  with open(path, "wb") as sparse:
    sparse.write(file.start)
    sparse.truncate(len(file.start) + 4 * samples)
  assert soundfile.info(path).frames == samples
  with reading.opened(path) as sound:
    assert (sound.rate_hz, sound.channels) == (48_000, 2)
    # So close below 4 GiB a size may stand for a stream's.
    assert sound.claimed_samples == (samples if over > 0 else None)
