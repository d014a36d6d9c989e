"""Laws of damage: what is read is right, in its time, and the rest is named."""

import dataclasses
import io
import os
import threading

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from soundstream_jax import errors
from soundstream_jax.codec.sstr import chunks, reader, scan, writer
from soundstream_jax.codec.sstr import header as header_lib

# Five chunks of 16 frames and one of 3; a frame is 10 ms.
HEADER = header_lib.Header(
  source_rate_hz=32_000,
  source_samples=83 * 320,
  source_channels=2,
  channels=2,
  model_rate_hz=32_000,
  strides=(320,),
  codebook_size=32,
  model_quantizers=5,
  num_quantizers=3,
  chunk_frames=16,
  fingerprint=bytes(range(32)),
  step=0,
  weights="raw",
)
STREAM = dataclasses.replace(HEADER, source_samples=None)
CODES = np.random.default_rng(0).integers(0, 32, (2, 83, 3)).astype(np.int32)
DATA = writer.to_bytes(HEADER, CODES)
STREAMED = writer.to_bytes(STREAM, CODES, source_samples=HEADER.source_samples)

PLANE = 10 + 4  # 16 codes of 5 bits, and their checksum
CHUNK = 20 + 6 * PLANE
HEAD = header_lib.HEADER_BYTES


def flipped(data, *places):
  data = bytearray(data)
  for place in places:
    data[place] ^= 0x10
  return bytes(data)


def read(data):
  """Reads damaged data; what is said to be whole must be."""
  recording = reader.from_bytes(data, strict=False)
  frames = recording.layers.shape[1]
  there = np.arange(3) < recording.layers[:, :, None]
  np.testing.assert_array_equal(
    recording.codes, np.where(there, CODES[:, :frames], 0)
  )
  return recording


def layers_of(*chunk_layers):
  """Layers [2, 83] of six chunks; a pair is for the two channels."""
  pairs = [np.broadcast_to(layers, (2,)) for layers in chunk_layers]
  frames = [16] * 5 + [3]
  return np.repeat(np.array(pairs).T, frames, axis=1)


def strict_refusal(data):
  with pytest.raises(errors.InputError) as refusal:
    reader.from_bytes(data)
  assert "\n" not in str(refusal.value)
  return str(refusal.value)


def test_a_damaged_plane_costs_its_channel_that_layer_and_those_above():
  for layer in range(3):
    for channel in range(2):
      place = HEAD + 2 * CHUNK + 20 + (2 * layer + channel) * PLANE + 3
      recording = read(flipped(DATA, place))
      pair = np.where(np.arange(2) == channel, layer, 3)
      expected = layers_of(3, 3, pair, 3, 3, 3)
      np.testing.assert_array_equal(recording.layers, expected)
      (damage,) = recording.damages
      assert float(damage.seconds) == 0.32
      assert f"layer{f' {layer + 1}' if layer else ''} of channel" in str(
        damage
      )
      assert strict_refusal(flipped(DATA, place)) == f"{damage}."


def test_a_damaged_head_costs_its_chunk():
  for offset in range(20):
    recording = read(flipped(DATA, HEAD + 3 * CHUNK + offset))
    np.testing.assert_array_equal(recording.layers, layers_of(3, 3, 3, 0, 3, 3))
    text = [str(damage) for damage in recording.damages]
    assert text == [
      "at 0.480 s: 104 bytes belong to no chunk",
      "at 0.480 s: 16 frames missing",
    ]


def test_every_change_of_one_byte_is_refused_or_costs_what_it_changed():
  for data in (DATA, STREAMED):
    for place in range(len(data)):
      changed = flipped(data, place)
      assert strict_refusal(changed)
      if place >= HEAD:
        recording = read(changed)
        assert recording.damages
        assert recording.source_samples == HEADER.source_samples
        assert (recording.layers < 3).any(axis=0).sum() <= 16


@given(
  start=st.integers(HEAD, len(DATA)),
  length=st.integers(1, 3 * CHUNK),
  filling=st.binary(max_size=40),
  streamed=st.booleans(),
)
# What is lost of a chunk is as long as others that follow, up to the end of the
# file or to the next chunk.
@example(start=452, length=163, filling=b"\0\0\0", streamed=False)
@example(start=348, length=272, filling=bytes(8), streamed=True)
@settings(max_examples=300, deadline=None)
def test_bytes_lost_or_added_cost_the_chunks_they_touch(
  start, length, filling, streamed
):
  data = STREAMED if streamed else DATA
  changed = data[:start] + filling + data[start + length :]
  if changed == data:
    return
  recording = read(changed)
  assert recording.damages
  first = (start - HEAD) // CHUNK
  last = (start + length - 1 - HEAD) // CHUNK
  for chunk in range(6):
    if not first <= chunk <= last:
      frames = slice(16 * chunk, 16 * chunk + 16)
      assert (recording.layers[:, frames] == 3).all()


def test_every_truncation_gives_what_is_there_and_says_that_it_is_cut():
  for size in range(HEAD, len(DATA)):
    assert strict_refusal(DATA[:size])
    there = max(0, size - HEAD) // CHUNK * 16
    if size - HEAD < 20 + 2 * PLANE:  # the first layer of the first chunk
      with pytest.raises(errors.InputError, match="0 of 83 frames are there"):
        read(DATA[:size])
      continue
    recording = read(DATA[:size])
    assert recording.codes.shape == (2, 83, 3)
    assert (recording.layers[:, :there] == 3).all()
    assert recording.damages
  first = HEAD + 20 + 2 * PLANE
  for size in range(HEAD, first):
    with pytest.raises(errors.InputError, match="no chunk is whole"):
      read(STREAMED[:size])
  for size in range(first, len(STREAMED)):
    recording = read(STREAMED[:size])
    assert "without an end" in str(recording.damages[-1])
    assert recording.source_samples % 320 == 0
    if size >= len(DATA):
      assert recording.source_samples == HEADER.source_samples


def test_chunks_out_of_order_and_twice_are_taken_once_in_their_time():
  head, body = DATA[:HEAD], DATA[HEAD:]
  parts = [body[i : i + CHUNK] for i in range(0, len(body), CHUNK)]
  twice = head + b"".join(parts[:2] + parts[1:])
  recording = read(twice)
  assert (recording.layers == 3).all()
  assert "frames 16 to 31 come again" in strict_refusal(twice)
  swapped = b"".join([head, parts[0], parts[2], parts[1], *parts[3:]])
  np.testing.assert_array_equal(
    read(swapped).layers, layers_of(3, 0, 3, 3, 3, 3)
  )
  after = DATA + parts[0]
  assert "more bytes follow the end" in strict_refusal(after)
  assert (read(after).layers == 3).all()


def test_a_plane_of_another_place_is_a_damaged_one():
  first, second = HEAD + 20, HEAD + 20 + PLANE
  for other in (second, first + 2 * PLANE, first + CHUNK):
    data = bytearray(DATA)
    data[first : first + PLANE] = DATA[other : other + PLANE]
    assert read(bytes(data)).layers[0, 0] == 0


def test_filling_bits_that_are_set_are_damage():
  header = dataclasses.replace(HEADER, source_samples=320)
  data = writer.to_bytes(header, CODES[:, :1])
  plane = bytes([data[140] | 1])
  checksum = chunks.plane_checksum(
    plane, first_frame=0, frames=1, layer=0, channel=0
  )
  changed = data[:140] + plane + checksum.to_bytes(4, "little") + data[145:]
  assert "of channel 1 is damaged" in strict_refusal(changed)


def test_a_file_of_no_chunk_that_claims_1e12_samples_is_refused():
  samples = 10**12
  for claim in (dataclasses.replace(HEADER, source_samples=samples),):
    for data in (claim.to_bytes(), claim.to_bytes() + DATA[HEAD:]):
      with pytest.raises(errors.InputError, match="fewer than one of 16"):
        reader.from_bytes(data, strict=False)
      strict_refusal(data)


def test_a_stream_that_claims_a_gap_of_years_is_refused():
  head = chunks.Head(chunks.PACKED, 1, 1, 2**32 - 2, 2 * (1 + 4))
  data = STREAM.to_bytes() + head.to_bytes()
  for channel in range(2):
    place = {"first_frame": 2**32 - 2, "frames": 1, "layer": 0}
    data += chunks.entry(b"\0", 0, channel=channel, **place)
  with pytest.raises(errors.InputError, match="1 of 4294967295 frames"):
    reader.from_bytes(data, strict=False)


def test_many_frames_of_one_layer_do_not_get_the_width_of_255():
  wide = dataclasses.replace(
    STREAM,
    source_channels=1,
    channels=1,
    codebook_size=2,
    model_quantizers=255,
    num_quantizers=255,
    chunk_frames=4096,
  )
  narrow = dataclasses.replace(wide, num_quantizers=1)
  frames = 1 << 17
  data = writer.to_bytes(
    narrow, np.zeros((1, frames, 1), np.int32), source_samples=320 * frames
  )
  with pytest.raises(errors.InputError, match="would take 133693440 bytes"):
    reader.from_bytes(wide.to_bytes() + data[HEAD:])


def test_heads_inside_of_damaged_chunks_cost_linear_time():
  # Each claims the longest body, and none of them is one.
  header = dataclasses.replace(STREAM, chunk_frames=4096, num_quantizers=5)
  body = 10 * (4096 * 5 // 8 + 4)
  heads = [
    chunks.Head(chunks.PACKED, 4096, 5, i, body).to_bytes() + b"junk"
    for i in range(20_000)
  ]
  found = list(scan.events(io.BytesIO(b"".join(heads)), header))
  assert len(found) > 20_000


def test_random_bytes_are_refused_in_one_line():
  random = np.random.default_rng(0)
  for start in (b"", b"SSTR", DATA[:8], DATA[:HEAD]):
    for size in (0, 1, 7, 100, 300):
      assert strict_refusal(start + random.bytes(size))


def test_a_pipe_gives_a_chunk_when_its_last_byte_is_there():
  receiver, sender = os.pipe()
  with open(receiver, "rb") as file, open(sender, "wb", buffering=0) as pipe:
    pipe.write(STREAMED[: HEAD + CHUNK])
    header, _ = reader.read_header(file)
    found = scan.events(file, header)
    for chunk in range(6):
      # A reader that waits for a byte more would wait for ever.
      watchdog = threading.Timer(30, pipe.write, [bytes(1 << 16)])
      watchdog.start()
      event = next(found)
      watchdog.cancel()
      assert event.head.first_frame == 16 * chunk
      assert event.layers == (3, 3)
      start = HEAD + (chunk + 1) * CHUNK
      pipe.write(STREAMED[start : start + CHUNK])
    end = next(found)
    assert end == scan.End(frames=83, source_samples=HEADER.source_samples)


def test_a_file_that_is_cut_is_said_to_break_off_wherever_it_is_cut():
  for data in (DATA, STREAMED[: -chunks.END_BYTES]):
    for size in range(HEAD + CHUNK + 21, len(data)):
      texts = [damage.text for damage in read(data[:size]).damages]
      assert "more bytes follow the end" not in texts
      left = (size - HEAD) % CHUNK
      last = size >= HEAD + 5 * CHUNK
      plane = 2 + 4 if last else PLANE
      # A chunk whose head is not whole is not known to be there, and what ends
      # with a plane has lost whole layers.
      if left >= chunks.HEAD_BYTES and (left - chunks.HEAD_BYTES) % plane:
        missing = min(CHUNK, len(data) - (size - left)) - left
        assert any(
          f"breaks off: {missing} bytes of its last chunk" in text
          for text in texts
        )


def test_bytes_behind_the_end_are_not_called_a_cut():
  for data in (DATA, STREAMED):
    (damage,) = read(data + b"x").damages
    assert damage.text == "more bytes follow the end"
