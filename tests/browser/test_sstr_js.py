"""Laws of the page's .sstr code, run by Node: byte for byte as Python's."""

import base64
import dataclasses
import json
import pathlib
import subprocess

import numpy as np
import pytest

from soundstream_jax import errors
from soundstream_jax.codec.sstr import chunks, packing, reader, writer
from soundstream_jax.codec.sstr import header as header_lib
from soundstream_jax.codec.sstr.entropy import frequencies
from tests import outside
from tests.codec.sstr import fuzz

pytestmark = pytest.mark.browser

DRIVER = pathlib.Path(__file__).with_name("sstr_in_node.mjs")
# Header's field of Python -> of JavaScript.
NAMES = {
  "source_rate_hz": "sourceRateHz",
  "source_samples": "sourceSamples",
  "source_channels": "sourceChannels",
  "channels": "channels",
  "model_rate_hz": "modelRateHz",
  "strides": "strides",
  "codebook_size": "codebookSize",
  "model_quantizers": "modelQuantizers",
  "num_quantizers": "numQuantizers",
  "chunk_frames": "chunkFrames",
  "fingerprint": "fingerprint",
  "step": "step",
  "weights": "weights",
  "tables": "tables",
}


def in_node(requests):
  """Returns the page's answers to requests, one each."""
  node = outside.node()
  done = subprocess.run(
    [node, str(DRIVER)],
    input="\n".join(map(json.dumps, requests)),
    capture_output=True,
    text=True,
    check=False,
  )
  assert done.returncode == 0, done.stderr
  answers = [json.loads(line) for line in done.stdout.splitlines()]
  assert len(answers) == len(requests)
  return answers


def as_json(header):
  """Returns a header's fields as the page names them."""
  values = {name: getattr(header, ours) for ours, name in NAMES.items()}
  values["fingerprint"] = header.fingerprint.hex()
  values["tables"] = header.tables.hex()
  values["strides"] = list(header.strides)
  return values | {"step": str(header.step)}


def text_of(data):
  return base64.b64encode(data).decode()


def array_of(text, dtype):
  return np.frombuffer(base64.b64decode(text), dtype)


def made(random, **changed):
  """Returns a header and codes [C, F, q] that fit it."""
  bits = int(random.integers(1, 17))
  q = int(random.integers(1, 9))
  hop = int(random.choice([4, 60, 320]))
  strides = {4: (4,), 60: (3, 4, 5), 320: (2, 4, 5, 8)}[hop]
  rate = int(random.choice([8_000, 16_000, 24_000]))
  channels, source_channels = random.permutation([[1, 1], [1, 6], [3, 3]])[0]
  fields = {
    "source_rate_hz": int(random.choice([rate, 11_025, 44_100, 48_000])),
    "source_samples": int(random.integers(0, 600 * hop)),
    "source_channels": int(source_channels),
    "channels": int(channels),
    "model_rate_hz": rate,
    "strides": strides,
    "codebook_size": 1 << bits,
    "model_quantizers": q + int(random.integers(0, 9)),
    "num_quantizers": q,
    "chunk_frames": int(8 * random.integers(1, 40)),
    "fingerprint": random.bytes(32),
    "step": int(random.integers(0, 2**62)),
    "weights": str(random.choice(header_lib.WEIGHTS)),
  }
  header = header_lib.Header(**fields | changed)
  shape = header.channels, header.frames, header.num_quantizers
  return header, random.integers(0, 1 << bits, shape).astype(np.int32)


def request_to_write(header, codes, **options):
  channels = [text_of(channel.tobytes()) for channel in codes]
  return {
    "kind": "write",
    "header": as_json(header),
    "codes": channels,
    "options": options,
  }


def request_to_read(data):
  return {"kind": "read", "bytes": text_of(data)}


def test_files_are_pythons_in_every_byte():
  random = np.random.default_rng(1)
  cases = [made(random) for _ in range(80)]
  cases += [made(random, source_samples=samples) for samples in (0, 1)]
  answers = in_node([request_to_write(*case) for case in cases])
  for (header, codes), answer in zip(cases, answers, strict=True):
    expected = writer.to_bytes(header, codes)
    assert base64.b64decode(answer["answer"]) == expected, header


def test_streams_are_pythons_in_every_byte():
  random = np.random.default_rng(2)
  requests, expected = [], []
  for frames in (1, 3, 8):
    header, codes = made(random)
    stream = dataclasses.replace(header, source_samples=None)
    samples = header.source_samples
    expected.append(
      writer.to_bytes(
        stream, codes, source_samples=samples, chunk_frames=frames
      )
    )
    requests.append(
      request_to_write(stream, codes, sourceSamples=samples, chunkFrames=frames)
    )
  answers = in_node(requests)
  assert [base64.b64decode(a["answer"]) for a in answers] == expected


def test_fewer_layers_are_the_file_of_a_lower_bitrate():
  random = np.random.default_rng(3)
  header, codes = made(random, model_quantizers=9, num_quantizers=9)
  lower = dataclasses.replace(header, num_quantizers=4)
  (answer,) = in_node([request_to_write(lower, codes, width=9)])
  expected = writer.to_bytes(lower, codes[..., :4])
  assert base64.b64decode(answer["answer"]) == expected


def check_read(data, answer):
  """What Python makes of bytes is what the page makes of them."""
  try:
    expected = reader.from_bytes(data, strict=False)
  except errors.InputError as error:
    assert "refused" in answer, (error, answer)
    assert "\n" not in answer["refused"]
    return "refused"
  assert "answer" in answer, answer
  found = answer["answer"]
  assert found["header"] == as_json(expected.header)
  assert found["sourceSamples"] == expected.source_samples
  channels, frames, q = expected.codes.shape
  assert found["frames"] == frames
  for channel in range(channels):
    codes = array_of(found["codes"][channel], np.int32)
    np.testing.assert_array_equal(
      codes.reshape(frames, q), expected.codes[channel]
    )
    layers = array_of(found["layers"][channel], np.uint8)
    np.testing.assert_array_equal(layers, expected.layers[channel])
  told = [f"at {d['seconds']:.3f} s: {d['text']}" for d in found["damages"]]
  assert told == [str(damage) for damage in expected.damages]
  return "damaged" if told else "whole"


def test_files_and_streams_are_read_as_python_reads_them():
  random = np.random.default_rng(4)
  files = [writer.to_bytes(*made(random)) for _ in range(40)]
  for frames in (1, 8):
    header, codes = made(random)
    stream = dataclasses.replace(header, source_samples=None)
    files.append(
      writer.to_bytes(
        stream,
        codes,
        source_samples=header.source_samples,
        chunk_frames=frames,
      )
    )
  answers = in_node(list(map(request_to_read, files)))
  assert set(map(check_read, files, answers)) == {"whole"}


def test_damaged_files_are_read_as_python_reads_them():
  kinds = [
    sample
    for sample in fuzz.samples()
    if sample.name not in ("entropy", "version 1", "raw")
  ]
  files = []
  for number in range(6_000):
    random = np.random.default_rng(number)
    files.append(fuzz.mutated(kinds[number % len(kinds)], random))
  answers = in_node(list(map(request_to_read, files)))
  outcomes = list(map(check_read, files, answers))
  counts = {name: outcomes.count(name) for name in sorted(set(outcomes))}
  print(counts)
  assert min(counts.values()) > 100 and len(counts) == 3


def test_bits_that_fill_a_plane_are_damage_with_a_right_checksum_too():
  random = np.random.default_rng(7)
  fixed = {"codebook_size": 8, "channels": 1, "source_channels": 1}
  header, codes = made(random, chunk_frames=256, **fixed)
  header = dataclasses.replace(
    header,
    source_rate_hz=header.model_rate_hz,
    source_samples=9 * header.hop_samples,
  )
  data = bytearray(writer.to_bytes(header, codes[:, :9] % 8))
  size = packing.plane_bytes(9, 3)
  start = header_lib.HEADER_BYTES + chunks.HEAD_BYTES
  data[start + size - 1] |= 1
  sealed = chunks.plane_checksum(
    bytes(data[start : start + size]),
    first_frame=0,
    frames=9,
    layer=0,
    channel=0,
  )
  data[start + size : start + size + 4] = sealed.to_bytes(4, "little")
  (answer,) = in_node([request_to_read(bytes(data))])
  assert check_read(bytes(data), answer) == "refused"


def test_what_cannot_be_read_is_refused_in_one_line():
  random = np.random.default_rng(5)
  header, codes = made(random, codebook_size=64, source_samples=40_000)
  codes %= 64
  counts = np.ones((header.model_quantizers, 64), np.int64)
  tables = frequencies.from_counts(counts, fingerprint=header.fingerprint)
  coded = writer.to_bytes(
    dataclasses.replace(header, tables=tables.identity), codes, tables=tables
  )
  plain = writer.to_bytes(header, codes)
  old = next(s.data for s in fuzz.samples() if s.name == "version 1")
  cases = {
    "entropy coded": coded,
    "not an .sstr file": b"RIFF" + plain,
    "not an": b"",
    "truncated": plain[:100],
    "its checksum": plain[:60] + b"?" + plain[61:],
    "version 1": old,
    "version 3": plain[:4] + b"\3" + plain[5:],
    "only 0 of": plain[:130],
  }
  answers = in_node(list(map(request_to_read, cases.values())))
  for says, answer in zip(cases, answers, strict=True):
    assert says in answer["refused"] and "\n" not in answer["refused"]


def test_what_the_format_does_not_hold_is_not_written():
  random = np.random.default_rng(6)
  header, codes = made(random, codebook_size=8, source_samples=4_000)
  codes %= 8
  wrong = codes.copy()
  wrong[0, 0, 0] = 8
  requests = [
    request_to_write(header, wrong),
    request_to_write(header, codes[:, 1:]),
    request_to_write(header, codes[..., 1:]),
  ]
  bad = request_to_write(header, codes)
  bad["header"]["codebookSize"] = 9
  answers = in_node([*requests, bad])
  assert all("refused" in answer for answer in answers), answers
