"""Laws of bitrates by cutting layers, entropy coding and raw packets."""

import dataclasses
import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from soundstream_jax import errors
from soundstream_jax.codec.sstr import chunks, raw, reader, transcode, writer
from soundstream_jax.codec.sstr import header as header_lib
from soundstream_jax.codec.sstr.entropy import frequencies

HEADER = header_lib.Header(
  source_rate_hz=24_000,
  source_samples=100 * 320,
  source_channels=2,
  channels=2,
  model_rate_hz=24_000,
  strides=(2, 4, 5, 8),
  codebook_size=16,
  model_quantizers=6,
  num_quantizers=4,
  chunk_frames=24,
  fingerprint=bytes(range(32)),
  step=0,
  weights="ema",
)
# Low codes are likely, so that the entropy coder has something to do.
CODES = np.random.default_rng(0).geometric(0.4, (2, 100, 4)).clip(1, 16) - 1
TABLES = frequencies.from_counts(
  np.bincount(CODES.reshape(-1), minlength=16)[None].repeat(6, axis=0),
  fingerprint=HEADER.fingerprint,
)
CODED = dataclasses.replace(HEADER, tables=TABLES.identity)
BPS = {q: 300 * q for q in range(1, 7)}


def lower(data, layers):
  """Transcodes; returns the bytes and what was reported."""
  target, reported = io.BytesIO(), []
  transcode.transcode(
    io.BytesIO(data),
    target,
    bitrate_bps=BPS[layers],
    report=lambda damage: reported.append(str(damage)),
  )
  return target.getvalue(), reported


def written(layers, *, stream=False, tables=None):
  """What encoding at a bitrate writes."""
  header = dataclasses.replace(
    HEADER if tables is None else CODED,
    num_quantizers=layers,
    source_samples=None if stream else HEADER.source_samples,
  )
  return writer.to_bytes(
    header,
    CODES[..., :layers],
    source_samples=HEADER.source_samples,
    tables=tables,
  )


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("tables", [None, TABLES])
def test_transcode_equals_encode_at_that_bitrate_in_every_byte(stream, tables):
  for have in range(1, 5):
    data = written(have, stream=stream, tables=tables)
    for layers in range(1, have + 1):
      expected = written(layers, stream=stream, tables=tables)
      assert lower(data, layers) == (expected, [])


@given(
  st.integers(0, 2**32 - 1), st.booleans(), st.booleans(), st.integers(1, 4)
)
@settings(max_examples=150, deadline=None)
def test_damage_costs_the_same_before_and_after_transcoding(
  seed, stream, coded, layers
):
  random, tables = np.random.default_rng(seed), TABLES if coded else None
  data = bytearray(written(4, stream=stream, tables=tables))
  for place in random.integers(header_lib.HEADER_BYTES, len(data), 3):
    data[place] ^= int(random.integers(1, 256))
  if random.integers(2):
    start = int(random.integers(header_lib.HEADER_BYTES, len(data)))
    del data[start : start + int(random.integers(1, 100))]
  before = reader.from_bytes(bytes(data), strict=False, tables=tables)
  after = reader.from_bytes(
    lower(bytes(data), layers)[0], strict=False, tables=tables
  )
  kept = np.minimum(before.layers, layers)
  np.testing.assert_array_equal(after.layers, kept)
  np.testing.assert_array_equal(after.codes, before.codes[..., :layers])
  assert after.source_samples == before.source_samples


def test_damage_of_the_layers_that_are_cut_off_does_not_matter():
  data = bytearray(written(4))
  plane = 12 + 4
  for layer in (2, 3):
    data[header_lib.HEADER_BYTES + 20 + 2 * layer * plane] ^= 1
  assert reader.from_bytes(bytes(data), strict=False).damages
  assert lower(bytes(data), 2) == (written(2), [])


def test_transcode_refuses_what_it_cannot_do_and_writes_nothing():
  for bitrate_bps, match in (
    (1_500, "takes 5 layers, and the file has 4"),
    (1_000, "Use one of: 300, 600, 900, 1200, 1500, 1800"),
    (float("nan"), "Use one of"),
  ):
    target = io.BytesIO()
    with pytest.raises(errors.InputError, match=match):
      transcode.transcode(
        io.BytesIO(written(4)), target, bitrate_bps=bitrate_bps, report=print
      )
    assert target.getvalue() == b""


def test_transcode_holds_a_chunk_at_a_time():
  data = written(4, stream=True)

  class Pipe(io.BytesIO):
    def read(self, size=-1):
      # All that was read before but the chunk at hand is written.
      assert self.tell() - 4 * len(target.getvalue()) < 1_000
      return super().read(size)

  target = io.BytesIO()
  transcode.transcode(Pipe(data), target, bitrate_bps=300, report=print)
  assert target.getvalue() == written(1, stream=True)


def test_entropy_coded_files_give_the_same_codes_in_fewer_bytes():
  data = written(4, tables=TABLES)
  assert len(data) < len(written(4))
  recording = reader.from_bytes(data, tables=TABLES)
  np.testing.assert_array_equal(recording.codes, CODES)
  assert (recording.layers == 4).all()


def test_entropy_coded_files_need_the_tables_they_name():
  with pytest.raises(errors.InputError, match="and none were given"):
    reader.from_bytes(written(4, tables=TABLES))
  other = frequencies.from_counts(
    np.ones((6, 16), np.int64), fingerprint=HEADER.fingerprint
  )
  with pytest.raises(errors.InputError, match=other.identity.hex()):
    reader.from_bytes(written(4, tables=TABLES), tables=other)
  with pytest.raises(errors.InputError, match="are not the tables"):
    writer.to_bytes(HEADER, CODES, tables=TABLES)


def test_a_sealed_plane_that_no_codes_are_coded_to_costs_its_layers():
  header = dataclasses.replace(CODED, source_samples=24 * 320)
  data = writer.to_bytes(header, CODES[:, :24], tables=TABLES)
  head = chunks.parse(data[120:140], header)
  entries = [
    data[120 + a : 120 + b] for a, b in chunks.spans(data[120:], head, header)
  ]
  place = {"first_frame": 0, "frames": 24, "layer": 2, "channel": 1}
  entries[5] = chunks.entry(b"\x80\0\0", chunks.ENTROPY, **place)
  body = b"".join(entries)
  head = dataclasses.replace(head, body_bytes=len(body))
  data = header.to_bytes() + head.to_bytes() + body
  with pytest.raises(
    errors.InputError, match="layer 3 of channel 2 is damaged"
  ):
    reader.from_bytes(data, tables=TABLES)
  recording = reader.from_bytes(data, strict=False, tables=TABLES)
  np.testing.assert_array_equal(recording.layers[:, 0], [4, 2])
  np.testing.assert_array_equal(recording.codes[0], CODES[0, :24])
  np.testing.assert_array_equal(recording.codes[1, :, :2], CODES[1, :24, :2])
  assert not recording.codes[1, :, 2:].any()
  assert len(recording.damages) == 1


@given(st.integers(0, 2**32 - 1), st.integers(1, 16))
@settings(max_examples=50, deadline=None)
def test_packets_have_one_size_and_give_their_codes_back(seed, bits):
  random = np.random.default_rng(seed)
  frames, layers = random.integers(0, 20), random.integers(1, 25)
  codes = random.integers(0, 1 << bits, (frames, layers))
  data = raw.pack(codes, bits)
  size = raw.packet_bytes(layers, bits)
  assert size == -(-layers * bits // 8)
  assert len(data) == frames * size
  np.testing.assert_array_equal(raw.unpack(data, layers, bits), codes)
  for frame in range(frames):
    packet = data[frame * size : (frame + 1) * size]
    assert packet == raw.pack(codes[frame : frame + 1], bits)


def test_packets_of_lyras_rates_have_lyras_sizes():
  for bits_per_packet, size in ((64, 8), (120, 15), (184, 23)):
    assert raw.packet_bytes(bits_per_packet // 4, 4) == size


def test_packets_of_another_bitrate_are_refused_where_it_shows():
  data = raw.pack(np.full((3, 3), 31), 5)  # 2 bytes, the last bit 0
  with pytest.raises(errors.InputError, match="no whole number of packets"):
    raw.unpack(data[:-1], 3, 5)
  damaged = data[:3] + bytes([data[3] | 1]) + data[4:]
  with pytest.raises(errors.InputError, match="packet 1 does not end with 0"):
    raw.unpack(damaged, 3, 5)
  with pytest.raises(errors.InputError, match="of one channel"):
    raw.pack(np.zeros((2, 3, 3), np.int32), 5)
