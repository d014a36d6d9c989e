"""Laws of the entropy coder: nothing is lost, in few bytes, by integers."""

import ast
import hashlib
import itertools
import pathlib
import sys

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from soundstream_jax import errors
from soundstream_jax.codec.sstr import packing
from soundstream_jax.codec.sstr.entropy import (
  frequencies,
  plane_coder,
  range_coder,
  tables,
)

MODEL = bytes(range(32))

# Spelt out, so that no later change of the code can move a byte unnoticed.
FROZEN_TABLES = tables.Tables(
  frequencies=np.array(
    [[9, 1, 1, 1, 1, 1, 1, 1], [2, 2, 2, 2, 2, 2, 2, 2]], np.uint16
  ),
  precision=4,
  fingerprint=MODEL,
)
FROZEN_PLANES = np.array(
  [
    [0, 0, 0, 0, 3, 0, 0, 0],  # coded
    [0, 0, 0, 0, 0, 0, 0, 0],  # coded: the interval begins at 0
    [7, 7, 7, 0, 7, 0, 6, 5],  # rare codes: packed
    [0, 1, 2, 3, 4, 5, 6, 7],  # all codes alike: packed
  ],
  np.int32,
)
FROZEN_LAYERS = np.array([0, 0, 0, 1])
FROZEN_BLOBS = ["119f", "", "ff8e35", "053977"]
LONG_SHA256, LONG_BYTES = "b1acfc3c8a9255c5", 9063


def drawn_tables(random, *, layers, bits, precision, skew):
  counts = random.pareto(skew, (layers, 1 << bits)) * 50
  return frequencies.from_counts(
    counts.clip(0, 1e12).astype(np.int64),
    fingerprint=MODEL,
    precision=max(precision, bits),
  )


def likely_planes(random, made, layers, frames):
  """Planes whose codes occur as often as the tables say."""
  parts = random.integers(0, 1 << made.precision, (len(layers), frames))
  return made.symbols[layers[:, None], parts].astype(np.int32)


def information_bits(planes, layers, made):
  """What the codes of each plane carry under their tables, float64 [P]."""
  share = made.frequencies / (1 << made.precision)
  return -np.log2(share[layers[:, None], planes]).sum(axis=1)


CASES = {
  "seed": st.integers(0, 2**32 - 1),
  "layers": st.integers(1, 3),
  "bits": st.integers(1, 10),
  "precision": st.integers(1, 16),
  "skew": st.sampled_from([0.1, 0.5, 1.0, 5.0]),
  "frames": st.integers(0, 40),
  "count": st.integers(0, 20),
  "likely": st.booleans(),
}


def drawn(seed, layers, bits, precision, skew, frames, count, likely):
  """Returns planes [P, F], their layers [P] and tables."""
  random = np.random.default_rng(seed)
  made = drawn_tables(
    random, layers=layers, bits=bits, precision=precision, skew=skew
  )
  numbers = random.integers(0, layers, count)
  planes = random.integers(0, 1 << bits, (count, frames), dtype=np.int32)
  if likely:
    planes = likely_planes(random, made, numbers, frames)
  return planes, numbers, made


@given(**CASES)
@settings(max_examples=150, deadline=None)
def test_decode_inverts_encode_for_any_tables_and_planes(**case):
  planes, layers, made = drawn(**case)
  blobs = plane_coder.encode_planes(planes, layers, made)
  decoded = plane_coder.decode_planes(blobs, layers, planes.shape[1], made)
  assert decoded.dtype == np.int32
  np.testing.assert_array_equal(decoded, planes)


@given(**CASES)
@settings(max_examples=150, deadline=None)
def test_a_plane_takes_at_most_a_byte_more_than_its_information(**case):
  planes, layers, made = drawn(**case)
  frames = planes.shape[1]
  data, used = range_coder.encode(planes, layers.astype(np.int64), made)
  assert not data[np.arange(data.shape[1]) >= used[:, None]].any()
  bits = information_bits(planes, layers, made) + frames * 2.0**-15
  assert (used <= np.floor(bits / 8) + 1).all()
  blobs = plane_coder.encode_planes(planes, layers, made)
  size = packing.plane_bytes(frames, made.code_bits)
  assert [len(blob) for blob in blobs] == np.minimum(used, size).tolist()


def whole_numbers(plane, layer, made):
  """The format's definition, in Python's numbers of any size."""
  low, width, scale = 0, 1 << 48, 48
  for code in plane:
    unit = width >> made.precision
    before = int(made.frequencies[layer][:code].sum())
    low += unit * before
    width = unit * int(made.frequencies[layer][code])
    while width < 1 << 32:
      low, width, scale = low << 16, width << 16, scale + 16
  for bits in (48, 40, 32):
    number = -(-low >> bits) << bits
    if number < low + width:
      break
  return number.to_bytes(scale // 8, "big").rstrip(b"\0")


@given(**CASES)
@settings(max_examples=100, deadline=None)
def test_bytes_equal_the_definition_in_numbers_of_any_size(**case):
  planes, layers, made = drawn(**case)
  data, used = range_coder.encode(planes, layers.astype(np.int64), made)
  for plane, layer, row, length in zip(
    planes.tolist(), layers, data, used, strict=True
  ):
    assert row[:length].tobytes() == whole_numbers(plane, layer, made)


@given(
  blob=st.binary(max_size=12),
  bits=st.integers(1, 10),
  skew=st.sampled_from([0.1, 1.0, 5.0]),
  frames=st.integers(0, 12),
)
@example(blob=b"\xff" * 8, bits=10, skew=0.1, frames=8)
@settings(max_examples=500, deadline=None)
def test_any_bytes_are_refused_or_are_what_their_codes_are_coded_to(
  blob, bits, skew, frames
):
  random = np.random.default_rng(bits)
  made = drawn_tables(random, layers=1, bits=bits, precision=14, skew=skew)
  try:
    codes = plane_coder.decode_planes([blob], np.array([0]), frames, made)
  except errors.InputError as error:
    assert "\n" not in str(error)
    return
  (again,) = plane_coder.encode_planes(codes, np.array([0]), made)
  if len(blob) < plane_coder.packed_bytes(frames, made):
    assert again == blob
  else:  # packed, whether or not that is shorter
    assert packing.pack(codes, made.code_bits).tobytes() == blob


def test_damage_is_refused_or_gives_other_codes():
  random = np.random.default_rng(0)
  made = drawn_tables(random, layers=1, bits=8, precision=16, skew=1.0)
  layers = np.zeros(1, int)
  plane = likely_planes(random, made, layers, 64)
  (blob,) = plane_coder.encode_planes(plane, layers, made)
  damaged = [
    bytes(b ^ (1 << bit) if i == at else b for i, b in enumerate(blob))
    for at, bit in itertools.product(range(len(blob)), range(8))
  ]
  damaged += [blob[:length] for length in range(len(blob))]
  damaged += [blob + b"\0", blob + b"\1", b"\0" + blob]
  refused = 0
  for other in damaged:
    try:
      codes = plane_coder.decode_planes([other], layers, 64, made)
    except errors.InputError:
      refused += 1
    else:
      assert (codes != plane).any()
  print(f"{refused} of {len(damaged)} refused")


def test_planes_are_coded_on_their_own_in_batches_of_any_size(monkeypatch):
  random = np.random.default_rng(1)
  made = drawn_tables(random, layers=3, bits=6, precision=16, skew=1.0)
  layers = random.integers(0, 3, 20)
  planes = likely_planes(random, made, layers, 16)
  blobs = plane_coder.encode_planes(planes, layers, made)
  assert blobs == [
    plane_coder.encode_planes(planes[i : i + 1], layers[i : i + 1], made)[0]
    for i in range(20)
  ]
  monkeypatch.setattr(plane_coder, "_BATCH_PLANES", 3)
  assert plane_coder.encode_planes(planes, layers, made) == blobs
  np.testing.assert_array_equal(
    plane_coder.decode_planes(blobs, layers, 16, made), planes
  )


def test_every_code_can_be_coded_next_to_the_commonest():
  counts = np.zeros((1, 1024), np.int64)
  counts[0, 0] = 10**15
  made = frequencies.from_counts(counts, fingerprint=MODEL)
  planes = np.zeros((1024, 64), np.int32)
  planes[:, 30] = np.arange(1024)
  layers = np.zeros(1024, int)
  blobs = plane_coder.encode_planes(planes, layers, made)
  np.testing.assert_array_equal(
    plane_coder.decode_planes(blobs, layers, 64, made), planes
  )
  # 16 bits for the rare one and almost nothing for 63 others; packed it is 80.
  assert max(map(len, blobs)) == 3


def test_frozen_planes_keep_their_bytes():
  blobs = plane_coder.encode_planes(FROZEN_PLANES, FROZEN_LAYERS, FROZEN_TABLES)
  assert [blob.hex() for blob in blobs] == FROZEN_BLOBS
  np.testing.assert_array_equal(
    plane_coder.decode_planes(blobs, FROZEN_LAYERS, 8, FROZEN_TABLES),
    FROZEN_PLANES,
  )


def test_a_frozen_long_sample_keeps_its_bytes():
  k, f = np.arange(1024), np.arange(256)
  counts = np.stack([(1 << 20) // (1 + (k * step) % 1021) for step in (1, 7)])
  made = frequencies.from_counts(counts, fingerprint=MODEL)
  layers = np.arange(40) % 2
  parts = (
    f * f * 40503 + (layers * 9176 + np.arange(40) * 317)[:, None]
  ) % 65536
  planes = made.symbols[layers[:, None], parts]
  blobs = plane_coder.encode_planes(planes, layers, made)
  assert hashlib.sha256(b"".join(blobs)).hexdigest()[:16] == LONG_SHA256
  assert sum(map(len, blobs)) == LONG_BYTES


@pytest.mark.parametrize("module", [plane_coder, range_coder, frequencies])
def test_the_coder_names_no_float_and_divides_in_whole_numbers(module):
  for node in ast.walk(ast.parse(pathlib.Path(module.__file__).read_text())):
    assert not isinstance(node, ast.Div)
    assert not isinstance(getattr(node, "value", None), float)
    name = getattr(node, "attr", getattr(node, "id", ""))
    assert not name.startswith(("float", "log", "mean", "true_divide"))


def test_no_array_in_the_coder_is_of_floats():
  files = {module.__file__ for module in (plane_coder, range_coder, packing)}
  kinds = set()

  def watch(frame, event, argument):
    if frame.f_code.co_filename not in files:
      return None
    values = [*frame.f_locals.values(), argument]
    for value in itertools.chain(
      *(v if type(v) is tuple else [v] for v in values)
    ):
      if isinstance(value, np.ndarray | np.generic):
        kinds.add(value.dtype.kind)
    return watch

  before = sys.gettrace()
  sys.settrace(watch)
  try:
    blobs = plane_coder.encode_planes(
      FROZEN_PLANES, FROZEN_LAYERS, FROZEN_TABLES
    )
    plane_coder.decode_planes(blobs, FROZEN_LAYERS, 8, FROZEN_TABLES)
  finally:
    sys.settrace(before)
  assert kinds == {"b", "i", "u"}


@pytest.mark.parametrize(
  ("planes", "layers", "reason"),
  [
    ([[8]], [0], "codes from 8 to 8 are not from 0 to 7"),
    ([[-1]], [0], "codes from -1"),
    ([[0.0]], [0], "no integers"),
    ([[0]], [2], "layers from 2 to 2 are not from 0 to 1"),
    ([[0]], [0, 0], "not \\[P, F\\] and \\[P\\]"),
    ([0], [0], "not \\[P, F\\] and \\[P\\]"),
  ],
)
def test_encode_names_what_does_not_fit_the_tables(planes, layers, reason):
  with pytest.raises(errors.InputError, match=reason):
    plane_coder.encode_planes(np.array(planes), np.array(layers), FROZEN_TABLES)


@pytest.mark.parametrize(
  ("blobs", "layers", "frames", "reason"),
  [
    ([b"", b"1234"], [0, 1], 8, r"plane 1 \(layer 1\) has more than 3 bytes"),
    ([b"", b"\x11\0"], [0, 0], 8, r"plane 1 \(layer 0\) is no 8 codes"),
    ([b"\1"], [0], 2, "must be 0"),
    ([b""], [0], -1, "-1 frames"),
    ([b""], [0, 0], 1, "not"),
    ([b""], [2], 1, "layers from 2"),
  ],
)
def test_decode_names_the_plane_that_is_none(blobs, layers, frames, reason):
  with pytest.raises(errors.InputError, match=reason):
    plane_coder.decode_planes(blobs, np.array(layers), frames, FROZEN_TABLES)


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("kind", [np.int32, np.int64, np.uint16])
def test_planes_stay_as_they_are_however_they_lie_in_memory(kind, order):
  planes = np.array(FROZEN_PLANES, kind, order=order)
  blobs = plane_coder.encode_planes(planes, FROZEN_LAYERS, FROZEN_TABLES)
  assert [blob.hex() for blob in blobs] == FROZEN_BLOBS
  np.testing.assert_array_equal(planes, FROZEN_PLANES)
