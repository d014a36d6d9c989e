"""Laws of what a pipe's first bytes say: raw sound passes, files do not."""

import io
import struct

import numpy as np
import pytest
import soundfile

from soundstream_jax import errors
from soundstream_jax.codec.stream import first_bytes

RATE_HZ = 16_000
SAMPLES = np.random.default_rng(0).integers(-900, 900, 640, dtype=np.int16)
PCM = SAMPLES.tobytes()
LIST = b"LIST" + struct.pack("<I", 7) + b"INFOabc\0"  # odd, and filled up


class Pipe:
  """Gives so many bytes at a time, and notes how many were asked for."""

  def __init__(self, data, step=1 << 20):
    self._file, self._step, self.taken = io.BytesIO(data), step, 0

  def read1(self, size):
    found = self._file.read(min(size, self._step))
    self.taken += len(found)
    return found

  def read(self, size):
    data = b""
    while len(data) < size and (found := self.read1(size - len(data))):
      data += found
    return data


def chunk(name, body, size=None):
  return name + struct.pack("<I", len(body) if size is None else size) + body


def form(tag=1, channels=1, rate_hz=RATE_HZ, bits=16, more=b""):
  each = channels * bits // 8
  return (
    struct.pack("<HHIIHH", tag, channels, rate_hz, each * rate_hz, each, bits)
    + more
  )


def riff(*chunks, size=None):
  body = b"WAVE" + b"".join(chunks)
  return chunk(b"RIFF", body, size)


def wav(pcm=PCM, *, size=None, riff_size=None, **of_form):
  return riff(
    chunk(b"fmt ", form(**of_form)), chunk(b"data", pcm, size), size=riff_size
  )


def heard(data, *, step=1 << 20, channels=1):
  """Returns the samples that are taken, and the remark at the end."""
  rest = first_bytes.sound(Pipe(data, step), rate_hz=RATE_HZ, channels=channels)
  found = b""
  while data := rest.read1(100):
    found += data
  return found, rest.finish(bytes_per_second=2 * RATE_HZ * channels)


EXTENSIBLE = struct.pack("<HHIH", 22, 16, 4, 1) + bytes.fromhex(
  "000000001000800000aa00389b71"
)


@pytest.mark.parametrize("step", [1, 3, 1 << 20])
@pytest.mark.parametrize(
  "data",
  [
    wav(),
    wav(PCM + LIST, size=len(PCM)),
    riff(LIST, chunk(b"fmt ", form()), LIST, chunk(b"data", PCM)),
    riff(
      chunk(b"bext", bytes(700_002)), chunk(b"fmt ", form()), LIST,
      chunk(b"fact", b"1234"), chunk(b"data", PCM),
    ),
    wav(tag=0xFFFE, more=EXTENSIBLE),
    wav(size=0x80000000, riff_size=0x80000024),  # arecord
    wav(size=0x7FFFFFFF),
    wav(size=0x7FFFF000, riff_size=0x7FFFF024),  # sox
    wav(size=0xFFFFFFFF, riff_size=0xFFFFFFFF),  # ffmpeg
    wav(size=0, riff_size=0),
    wav(size=0, riff_size=36),
    PCM,
  ],
)  # fmt: skip
def test_what_is_heard_is_the_sound_however_it_comes(data, step):
  assert heard(data, step=step) == (PCM, "")


def test_a_wav_without_sound_is_silent_and_its_tags_are_not_heard():
  empty = riff(chunk(b"fmt ", form()), chunk(b"data", b""), LIST)
  assert heard(empty) == (b"", "")


def test_a_wav_of_libsndfile_is_heard(tmp_path):
  soundfile.write(tmp_path / "a.wav", SAMPLES.reshape(-1, 2), RATE_HZ)
  data = (tmp_path / "a.wav").read_bytes()
  assert heard(data, channels=2) == (PCM, "")


def test_a_wav_that_ends_early_is_named_with_what_is_missing():
  _, remark = heard(wav(PCM[:-640], size=len(PCM)))
  assert "0.020 s longer than what came" in remark


def test_a_second_wav_is_not_heard_and_is_named():
  found, remark = heard(wav() + wav())
  assert found == PCM
  assert "another WAV follows" in remark


@pytest.mark.parametrize(
  ("data", "said"),
  [
    (wav(rate_hz=44_100), "44100 Hz, 1 channel, PCM of 16 bits; this stream"),
    (wav(channels=2), "2 channels, PCM of 16 bits"),
    (wav(channels=2), "use --channels=2, or record with arecord -f S16_LE"),
    (wav(bits=24), "PCM of 24 bits"),
    (wav(tag=3, bits=32), "float of 32 bits"),
    (wav(tag=7, bits=8), "mu-law of 8 bits"),
    (wav(tag=99), "encoding 99 of 16 bits"),
    (wav(tag=0xFFFE), "encoding 65534"),
    (riff(chunk(b"data", PCM)), "does not say what its samples are"),
    (riff(chunk(b"fmt ", b"12"), chunk(b"data", PCM)), "does not say"),
    (riff(chunk(b"fmt ", form())), "ends within the header"),
    (riff(chunk(b"LIST", b"", 0xFFFFFFFF)), "ends within the header"),
    (riff() + b"dat", "ends within the header"),
  ],
)
def test_a_wav_that_does_not_fit_is_refused(data, said):
  with pytest.raises(errors.InputError, match=said):
    heard(data)


# How files begin that others wrote.
FILES = {
  "FLAC": b"fLaC\0\0\0\x22",
  "Ogg": b"OggS\0\2" + bytes(8),
  "MP3": b"ID3\4\0\0\0\0\2\1",
  "AIFF": b"FORM\0\1\2\3AIFF",
  "AIFC": b"FORM\0\1\2\3AIFC",
  "CAF": b"caff\0\1\0\0desc",
  "AU": b".snd\0\0\0\x18",
  "MP4": b"\0\0\0\x1cftypM4A ",
  "WebM": b"\x1a\x45\xdf\xa3\x9f\x42\x86",
  "RIFX": b"RIFX\0\1\2\3WAVE",
  "RF64": b"RF64\xff\xff\xff\xffWAVE",
  "BW64": b"BW64\xff\xff\xff\xffWAVE",
  "Wave64": b"riff\x2e\x91\xcf\x11\xa5\xd6",
}


@pytest.mark.parametrize("step", [1, 1 << 20])
@pytest.mark.parametrize("name", FILES)
def test_a_file_is_neither_sound_nor_packets(name, step):
  data = FILES[name] + PCM
  with pytest.raises(errors.InputError) as refused:
    heard(data, step=step)
  assert "not raw sound. soundstream encode reads" in str(refused.value)
  assert "ffmpeg -i - -f s16le -ar 16000 -ac 1 -" in str(refused.value)
  for raw in (False, True):
    with pytest.raises(errors.InputError, match="not packets"):
      first_bytes.packets(Pipe(data, step), raw=raw)


def test_what_libsndfile_writes_is_known(tmp_path):
  for name in ("flac", "ogg", "aiff", "caf", "au", "rf64", "w64"):
    path = tmp_path / f"a.{name}"
    soundfile.write(path, SAMPLES, RATE_HZ, format=name.upper())
    with pytest.raises(errors.InputError, match="not raw sound"):
      heard(path.read_bytes())


def test_an_sstr_stream_is_not_sound():
  with pytest.raises(errors.InputError, match="Add --decode"):
    heard(b"SSTR\2\0\x78\0")


def test_packets_are_those_of_the_kind_that_is_asked_for():
  stream = b"SSTR\2\0\x78\0" + PCM
  assert (
    first_bytes.packets(Pipe(stream, 1), raw=False).read(999) == stream[:999]
  )
  assert first_bytes.packets(Pipe(PCM, 1), raw=True).read(99) == PCM[:99]
  assert first_bytes.packets(Pipe(b""), raw=False).read(9) == b""
  with pytest.raises(errors.InputError, match="Leave out --raw"):
    first_bytes.packets(Pipe(stream), raw=True)
  with pytest.raises(errors.InputError, match="Raw packets need --raw"):
    first_bytes.packets(Pipe(PCM), raw=False)


def test_no_byte_is_waited_for_that_could_not_tell():
  for data in (b"\1", b"RA", b"RIFF\0\0\0\0WAV", b"\0\0\0\0", b""):
    pipe = Pipe(data)
    rest = first_bytes.sound(pipe, rate_hz=RATE_HZ, channels=1)
    assert rest.read(99) == data
  pipe = Pipe(bytes(1000))  # silence
  first_bytes.sound(pipe, rate_hz=RATE_HZ, channels=1)
  assert pipe.taken <= 8
  pipe = Pipe(PCM)
  first_bytes.sound(pipe, rate_hz=RATE_HZ, channels=1)
  assert pipe.taken <= 2


def test_noise_is_not_taken_for_a_file():
  """Once in 2**32 streams it would be; none of a hundred thousand."""
  noise = np.random.default_rng(1).bytes(12 * 100_000)
  for at in range(0, len(noise), 12):
    data = noise[at : at + 12]
    rest = first_bytes.sound(Pipe(data), rate_hz=RATE_HZ, channels=1)
    assert rest.read(12) == data
