"""Laws of files that hold less than their headers say."""

import io as streams
import struct
import subprocess

import numpy as np
import pytest
import soundfile

from soundstream_jax import errors
from soundstream_jax.audio import headers, reading

RATE_HZ = 16_000
SECONDS = 2

# Without a header, with one in a file of its own; and what cannot be read back.
OTHERS = ("RAW", "SD2")
NOT_READ = {("AIFF", "DWVW_12"), ("AIFF", "DWVW_16"), ("AIFF", "DWVW_24")}

# Of these the header is known, or every cut is an error.
COMPARED = {"WAV", "WAVEX", "RF64", "W64", "AIFF", "AU", "AVR", "CAF", "FLAC"}
COMPARED |= {"HTK", "NIST", "OGG", "SVX"}


def _sound(channels):
  t = np.arange(SECONDS * RATE_HZ) / RATE_HZ
  tones = [np.sin(2 * np.pi * f * t) for f in (440, 330)]
  return 0.4 * np.stack(tones[:channels], axis=1)


def _written():
  """Yields (format, subtype, byte order, bytes) of all that can be written."""
  for name in soundfile.available_formats():
    if name in OTHERS:
      continue
    for kind in soundfile.available_subtypes(name):
      for order in ("FILE", "LITTLE", "BIG"):
        if not soundfile.check_format(name, kind, order):
          continue
        for channels in (2, 1):
          file = streams.BytesIO()
          how = {"format": name, "subtype": kind, "endian": order}
          try:
            soundfile.write(file, _sound(channels), RATE_HZ, **how)
          except soundfile.LibsndfileError:
            continue  # not so many channels, or not at all
          if (name, kind) not in NOT_READ:
            yield name, kind, order, file.getvalue()
          break


@pytest.fixture(scope="module")
def written():
  found = list(_written())
  assert len(found) > 100
  assert {name for name, *_ in found} >= COMPARED
  return found


def _read(path):
  with reading.opened(path) as sound:
    samples = sum(len(block) for block in sound.blocks())
    assert samples == sound.samples
    return sound


def test_a_whole_file_of_any_format_is_never_called_damaged(tmp_path, written):
  for name, kind, order, data in written:
    (tmp_path / "a").write_bytes(data)
    sound = _read(tmp_path / "a")
    assert sound.damage == "", (name, kind, order)
    assert sound.samples >= SECONDS * RATE_HZ, (name, kind, order)
    if sound.claimed_samples is not None:
      assert abs(sound.claimed_samples - sound.samples) < 1_000, (name, kind)


@pytest.mark.usefixtures("without_ffmpeg")
def test_a_cut_file_is_damaged_or_refused_and_never_silently_short(
  tmp_path, written
):
  for name, kind, order, data in written:
    if name not in COMPARED:
      continue
    (tmp_path / "a").write_bytes(data[: len(data) // 2])
    try:
      sound = _read(tmp_path / "a")
    except errors.InputError as error:
      assert name in ("CAF", "HTK", "OGG"), (name, kind, order, error)
      assert "cannot be read as audio" in str(error)
      continue
    assert sound.damage, (name, kind, order)
    assert 0.2 < sound.samples / RATE_HZ < 1.1, (name, kind, order)


def _wav(data_size, *, riff_size=None, data=bytes(32_000), kind=b"RIFF"):
  """A wav of 16 bits at 16 kHz, one channel, with any sizes in its header."""
  order = ">" if kind == b"RIFX" else "<"
  size = len(data) + 36 if riff_size is None else riff_size
  return b"".join(
    [
      struct.pack(f"{order}4sI4s4sI", kind, size, b"WAVE", b"fmt ", 16),
      struct.pack(f"{order}HHIIHH", 1, 1, RATE_HZ, 2 * RATE_HZ, 2, 16),
      struct.pack(f"{order}4sI", b"data", data_size),
      data,
    ]
  )


@pytest.mark.parametrize("kind", [b"RIFF", b"RIFX"])
def test_a_cut_wav_says_what_the_header_says_and_what_there_is(tmp_path, kind):
  (tmp_path / "a.wav").write_bytes(_wav(64_000, kind=kind))
  sound = _read(tmp_path / "a.wav")
  assert sound.claimed_samples == 32_000
  assert sound.samples == 16_000
  assert sound.damage == "the header says 2.000 s, the file holds 1.000 s"


def test_a_single_sample_that_is_missing_is_told(tmp_path):
  (tmp_path / "a.wav").write_bytes(_wav(32_002))
  assert _read(tmp_path / "a.wav").damage == (
    "the header says 16001 samples, the file holds 16000"
  )


@pytest.mark.parametrize(
  "size", [0xFFFF_FFFF, 0xFFFF_FFFF - 36, 0x7FFF_F000, 0x8000_0000]
)
def test_a_wav_that_was_written_into_a_pipe_is_a_stream(tmp_path, size):
  (tmp_path / "a.wav").write_bytes(_wav(size, riff_size=0xFFFF_FFFF))
  sound = _read(tmp_path / "a.wav")
  assert (sound.claimed_samples, sound.damage) == (None, "")
  assert sound.samples == 16_000


@pytest.mark.parametrize("riff_size", [0, 8, 36, 32_036])
def test_a_length_that_was_never_written_says_so_and_how_to_read_it(
  tmp_path, riff_size
):
  (tmp_path / "a.wav").write_bytes(_wav(0, riff_size=riff_size))
  with pytest.raises(errors.InputError) as caught:
    _read(tmp_path / "a.wav")
  message = str(caught.value)
  assert "header says 0 bytes of sound, and 32000 bytes follow" in message
  assert "ffmpeg -ignore_length 1 -i " in message
  assert "\n" not in message


def test_the_command_that_mends_a_length_works_as_printed(
  tmp_path, with_ffmpeg, monkeypatch
):
  monkeypatch.chdir(tmp_path)
  path = tmp_path / "it's a take.wav"
  path.write_bytes(_wav(0))
  with pytest.raises(errors.InputError) as caught:
    _read(path)
  _, command, _ = str(caught.value).split("`")
  subprocess.run(f"{command} -loglevel error -nostdin", shell=True, check=True)
  assert _read("mended.wav").samples == 16_000


@pytest.mark.parametrize(
  "rest", [b"", b"\0", b"LIST\x04\0\0\0abcd", b"id3 \x03\0\0\0abc\0"]
)
def test_a_wav_that_is_truly_empty_holds_no_samples(tmp_path, rest):
  (tmp_path / "a.wav").write_bytes(_wav(0, data=rest))
  with pytest.raises(errors.InputError, match="holds no samples"):
    _read(tmp_path / "a.wav")


def test_chunks_around_the_sound_are_no_part_of_it(tmp_path):
  head, sound = _wav(32_000)[:36], _wav(32_000)[36:]
  note = struct.pack("<4sI", b"note", 3) + b"abc\0"
  (tmp_path / "a.wav").write_bytes(head + note + sound + note)
  assert _read(tmp_path / "a.wav").damage == ""
  (tmp_path / "a.wav").write_bytes(head + note + sound[:-2_000])
  assert "holds 0.938 s" in _read(tmp_path / "a.wav").damage


def test_the_long_size_of_an_rf64_counts(tmp_path):
  file = streams.BytesIO()
  soundfile.write(file, _sound(1), RATE_HZ, format="RF64", subtype="PCM_16")
  data = bytearray(file.getvalue())
  at = data.index(b"ds64") + 16
  assert struct.unpack_from("<Q", data, at)[0] == 64_000
  struct.pack_into("<Q", data, at, 6 << 32)
  (tmp_path / "a.wav").write_bytes(data)
  assert _read(tmp_path / "a.wav").claimed_samples == 3 << 32
  struct.pack_into("<Q", data, at, (1 << 64) - 1)  # libsndfile refuses it
  assert headers.look(streams.BytesIO(data)) == headers.Claim()


@pytest.mark.parametrize("kind", ["VORBIS", "OPUS"])
@pytest.mark.parametrize("tail", [b"", b"TAG" + bytes(125)])
def test_an_ogg_is_damaged_where_it_ends_within_a_page(tmp_path, kind, tail):
  noise = np.random.default_rng(0).uniform(-0.5, 0.5, 10 * RATE_HZ)
  path = tmp_path / "a.ogg"
  soundfile.write(path, noise, RATE_HZ, format="OGG", subtype=kind)
  whole = path.read_bytes()
  path.write_bytes(whole + tail)
  assert _read(path).damage == ""
  if not tail:
    path.write_bytes(whole[: 2 * len(whole) // 3])
    sound = _read(path)
    assert sound.damage.startswith("the file is cut off after ")
    assert 3 * RATE_HZ < sound.samples < 8 * RATE_HZ


@pytest.mark.parametrize("tagged", [False, True])
@pytest.mark.parametrize("mode", ["CONSTANT", "AVERAGE", "VARIABLE"])
def test_an_mp3_is_damaged_where_bytes_are_missing(tmp_path, mode, tagged):
  noise = np.random.default_rng(0).uniform(-0.5, 0.5, (5 * RATE_HZ, 2))
  path = tmp_path / "a.mp3"
  soundfile.write(path, noise, RATE_HZ, bitrate_mode=mode)
  # A tag of 200 bytes before it, one of 128 behind it.
  front = b"ID3\4\0\0\0\0\1\x48" + bytes(200) if tagged else b""
  data = front + path.read_bytes()
  path.write_bytes(data + (b"TAG" + bytes(125)) * tagged)
  assert _read(path).damage == ""
  path.write_bytes(data[: len(data) // 2])
  sound = _read(path)
  assert sound.damage.startswith("the header says "), mode
  assert 2 * RATE_HZ < sound.samples < 3 * RATE_HZ


def test_of_a_damaged_flac_what_stands_before_the_damage_is_read(tmp_path):
  audio = _sound(2)
  path = tmp_path / "a.flac"
  soundfile.write(path, audio, RATE_HZ)
  data = path.read_bytes()
  path.write_bytes(data[: 2 * len(data) // 3])
  with reading.opened(path) as sound:
    found = np.concatenate(list(sound.blocks()))
  assert 0.3 * RATE_HZ < len(found) < 1.5 * RATE_HZ
  np.testing.assert_allclose(found, audio[: len(found)], atol=1e-4)
  assert sound.damage.startswith("the header says 2.000 s, the file holds ")


def test_any_first_bytes_are_looked_at_without_an_error(written):
  """Cut within the header, or with any byte of it changed."""
  rng = np.random.default_rng(0)
  for _, _, _, data in written[::5]:
    for _ in range(20):
      end = int(rng.integers(1, 200))
      begin = bytearray(data[:end])
      begin[rng.integers(end)] = rng.integers(256)
      claim = headers.look(streams.BytesIO(begin))
      assert claim.held_bytes <= end


@pytest.mark.usefixtures("without_ffmpeg")
def test_a_file_cut_within_its_header_is_one_line(tmp_path, written):
  for name, _, _, data in written[::3]:
    (tmp_path / "a").write_bytes(data[:12])
    with pytest.raises(errors.InputError) as caught:
      _read(tmp_path / "a")
    assert str(caught.value).startswith(f"{tmp_path / 'a'}: "), name
    assert "\n" not in str(caught.value)


def test_of_a_damaged_file_nothing_is_printed_but_the_error(tmp_path, capfd):
  """libsndfile would print bytes of a bad SDS packet where codes go."""
  path = tmp_path / "a.sds"
  soundfile.write(path, 0.1 * np.ones(1_000), 8_000, subtype="PCM_16")
  assert len(reading.read(path)[0]) >= 1_000
  data = bytearray(path.read_bytes())
  data[21 + 3 * 127] = 0
  path.write_bytes(data)
  with pytest.raises(errors.InputError, match="a packet of its sound is"):
    reading.read(path)
  assert capfd.readouterr() == ("", "")
