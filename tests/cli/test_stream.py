"""Laws of `soundstream stream`: pipes carry what files carry, as it comes."""

import io
import os
import struct
import subprocess
import sys

import numpy as np
import pytest

from soundstream_jax.audio import waveform
from soundstream_jax.cli import __main__ as command
from soundstream_jax.codec import trained_model
from soundstream_jax.codec.sstr import chunks, raw, reader
from soundstream_jax.codec.stream import decoder as decoder_lib

HOP = 320


class _Pipe:
  """Stands for sys.stdin or sys.stdout: bytes come in the given pieces."""

  def __init__(self, data=b"", pieces=()):
    self.buffer = io.BytesIO(data)
    sizes = iter(pieces)
    if pieces:
      read = self.buffer.read
      self.buffer.read1 = lambda _: read(next(sizes, -1))

  def flush(self):
    pass


@pytest.fixture
def piped(workdir, loaded_once, monkeypatch, capfd):
  """Runs the command on bytes; returns what it wrote, and its stderr."""

  def run(data, *options, pieces=(), code=0):
    monkeypatch.setattr(sys, "stdin", _Pipe(data, pieces))
    monkeypatch.setattr(sys, "stdout", _Pipe())
    argv = ["stream", f"--model={workdir}", *options]
    assert command.main(argv) == code
    return sys.stdout.buffer.getvalue(), capfd.readouterr().err

  return run


def _pcm(samples, channels=1):
  noise = np.random.default_rng(samples).normal(size=(samples, channels))
  return waveform.to_int16((0.1 * noise).astype(np.float32))


def _header(rate_hz, channels=1, size=0x80000000):
  """Returns what arecord writes before it knows how much will follow."""
  fields = 16, 1, channels, rate_hz, 2 * channels * rate_hz, 2 * channels, 16
  form = struct.pack("<IHHIIHH", *fields)
  riff = struct.pack("<4sI4s4s", b"RIFF", size + 36, b"WAVE", b"fmt ")
  return riff + form + struct.pack("<4sI", b"data", size)


@pytest.mark.parametrize("channels", [1, 2])
def test_the_header_of_a_wav_that_fits_is_not_heard(channels, piped):
  options = (f"--channels={channels}",)
  data = _pcm(9 * HOP + 7, channels).tobytes()
  raw_pcm, _ = piped(data, *options)
  for size in (0x80000000, 0xFFFFFFD0, len(data)):
    header = _header(16_000, channels, size)
    assert piped(header + data, *options) == (raw_pcm, "")


def test_a_wav_that_ends_early_is_encoded_and_named(piped):
  data = _pcm(9 * HOP).tobytes()
  stream, err = piped(_header(16_000, size=2 * len(data)) + data)
  assert stream == piped(data)[0]
  assert err == (
    "damaged: standard input: the WAV's header says that its sound is 0.180 s "
    "longer than what came.\n"
  )


@pytest.mark.parametrize("samples", [0, 1, HOP, 9 * HOP, 20 * HOP + 7])
@pytest.mark.parametrize("channels", [1, 2])
def test_what_comes_out_has_the_samples_that_went_in(samples, channels, piped):
  stream, err = piped(
    _pcm(samples, channels).tobytes(), f"--channels={channels}"
  )
  assert err == ""
  sound, err = piped(stream, "--decode")
  assert err == ""
  assert len(sound) == 2 * samples * channels


def test_a_stream_is_the_same_however_its_sound_came(piped):
  data = _pcm(20 * HOP + 7).tobytes()
  whole, _ = piped(data)
  assert piped(data, pieces=(1, 2, 4_001, 77, 640))[0] == whole
  recording = reader.from_bytes(whole)
  assert recording.source_samples == 20 * HOP + 7
  assert recording.codes.shape == (1, 21, 3)
  assert whole.count(chunks.MARKER) == 4  # three of codes, and the end


def test_a_pipe_decodes_to_what_streams_of_its_codes_do(piped, workdir):
  stream, _ = piped(_pcm(20 * HOP).tobytes())
  sound, _ = piped(stream, "--decode")
  decoder = decoder_lib.StreamDecoder(trained_model.load(str(workdir)))
  expected = decoder.push(reader.from_bytes(stream).codes)[0]
  found = np.frombuffer(sound, "<i2")
  np.testing.assert_array_equal(found, waveform.to_int16(expected))


def test_lost_chunks_are_concealed_in_time(piped):
  stream, _ = piped(_pcm(40 * HOP).tobytes())
  whole, _ = piped(stream, "--decode")
  head = 120
  size = chunks.overhead_bytes(num_quantizers=3, channels=1) + 3 * 5
  cut = stream[: head + size] + stream[head + 2 * size :]
  sound, err = piped(cut, "--decode")
  assert "at 0.160 s: 8 frames missing" in err
  assert len(sound) == len(whole)
  same = np.frombuffer(sound, "<i2") == np.frombuffer(whole, "<i2")
  assert same[: 8 * HOP].all()
  assert not same[8 * HOP : 16 * HOP].all()


def test_a_stream_without_an_end_gives_all_that_came(piped):
  stream, _ = piped(_pcm(20 * HOP + 7).tobytes())
  sound, err = piped(stream[: -chunks.END_BYTES], "--decode")
  assert "breaks off" in err
  assert len(sound) == 2 * 21 * HOP


def test_one_frame_a_chunk_has_the_same_codes(piped):
  data = _pcm(9 * HOP).tobytes()
  one, _ = piped(data, "--chunk_frames=1")
  eight, _ = piped(data)
  np.testing.assert_array_equal(
    reader.from_bytes(one).codes, reader.from_bytes(eight).codes
  )
  assert one.count(chunks.MARKER) == 10


def test_raw_packets_are_the_codes_of_the_stream(piped):
  data = _pcm(9 * HOP).tobytes()
  stream, _ = piped(data, "--bitrate=500")
  packets, err = piped(data, "--bitrate=500", "--raw")
  assert err == ""
  codes = reader.from_bytes(stream).codes[0]
  assert packets == raw.pack(codes, 5)
  sound, _ = piped(packets, "--decode", "--raw", "--bitrate=500", pieces=(3,))
  assert sound == piped(stream, "--decode")[0]


def test_half_a_sample_at_the_end_is_named_and_left_out(piped):
  data = _pcm(2 * HOP).tobytes()
  stream, err = piped(data + b"x")
  assert "1 bytes at the end of the input are less than a sample" in err
  assert reader.from_bytes(stream).source_samples == 2 * HOP


@pytest.mark.parametrize(
  ("options", "match"),
  [
    (("--channels=17",), "--channels=17 is not from 1 to 16"),
    (("--channels=2", "--raw"), "not from 1 to 1, as raw packets are of one"),
    (("--chunk_frames=9",), "--chunk_frames=9 is not from 1 to 8"),
    (("--decode", "--channels=2"), "--channels is for encoding"),
    (("--decode", "--raw"), "Give the --bitrate"),
    (("--decode", "--bitrate=500"), "a stream says its bitrate"),
    (("--bitrate=1",), "250, 500, 750"),
    (("--denoise",), "trained without denoising"),
    (("--decode",), "is a WAV file, not packets. Leave out --decode"),
    (("--decode", "--raw", "--bitrate=500"), "is a WAV file, not packets"),
    ((), "is a WAV of 44100 Hz, 2 channels, PCM of 16 bits"),
  ],
)
def test_what_cannot_be_is_one_line(options, match, piped):
  out, err = piped(_header(44_100, channels=2), *options, code=2)
  assert out == b""
  assert err.startswith("error: ") and err.count("\n") == 1
  assert match in err


def test_real_pipes_carry_sound_from_one_process_to_another(workdir):
  """As in a shell: encode | decode, the reader at the end gets every sample."""
  program = [sys.executable, "-m", "soundstream_jax.cli", "stream"]
  model = f"--model={workdir}"
  environment = os.environ | {"JAX_PLATFORMS": "cpu"}
  encode = subprocess.Popen(
    [*program, model],
    stdin=subprocess.PIPE,
    stdout=subprocess.PIPE,
    stderr=subprocess.PIPE,
    env=environment,
  )
  decode = subprocess.Popen(
    [*program, "--decode", model],
    stdin=encode.stdout,
    stdout=subprocess.PIPE,
    stderr=subprocess.PIPE,
    env=environment,
  )
  encode.stdout.close()
  encode.stdin.write(_pcm(30 * HOP + 5).tobytes())
  encode.stdin.close()
  sound, err = decode.communicate(timeout=300)
  assert encode.wait(timeout=60) == decode.returncode == 0
  assert (encode.stderr.read(), err) == (b"", b"")
  encode.stderr.close()
  assert len(sound) == 2 * (30 * HOP + 5)
