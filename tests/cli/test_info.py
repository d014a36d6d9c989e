"""Laws of `soundstream info`: every number of the file."""

import dataclasses

from soundstream_jax.codec.sstr import reader, writer


def test_info_prints_every_number_of_the_file(encoded, run):
  out = run("info", encoded)
  header = reader.read(encoded).header
  for text in (
    "version 2",
    "179 bytes = 120 header + 32 chunk headers and checksums + 27 codes",
    "16000 Hz, 4000 samples, 1 channel, 0.250 s",
    "16000 Hz, 4000 samples, 1 channel, hop 320, strides 320",
    "13 frames of 3 layers (of 3), 32 codes of 5 bits, packed",
    "1 of up to 256 frames, 5.120 s",
    "750 bit/s nominal, 5728.0 bit/s on disk",
    "250, 500, 750 bit/s by transcode",
    "algorithmic latency: one hop, 320 samples, 20.0 ms",
    header.fingerprint.hex(),
    "20 (ema)",
  ):
    assert text in out


def test_info_of_a_stream_takes_its_length_from_the_end(encoded, run):
  recording = reader.read(encoded)
  header = dataclasses.replace(
    recording.header, source_samples=None, chunk_frames=8
  )
  data = writer.to_bytes(header, recording.codes, source_samples=4_000)
  encoded.write_bytes(data)
  out = run("info", encoded)
  assert f"{len(data)} bytes = 120 header + 64 chunk headers" in out
  assert " + 32 end" in out
  assert "16000 Hz, 4000 samples, 1 channel, 0.250 s" in out
  assert "2 of up to 8 frames, 0.160 s" in out
