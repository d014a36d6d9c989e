"""A few thousand mutated files and packets; `fuzz.py` has the rest."""

import importlib.util
import pathlib

import pytest


@pytest.fixture(scope="module")
def fuzz():
  path = pathlib.Path(__file__).with_name("fuzz.py")
  spec = importlib.util.spec_from_file_location("codec_fuzz", path)
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  return module


def test_every_mutated_file_is_decoded_or_refused_in_one_line(fuzz):
  result = fuzz.run(0, 3_000)
  print(result)
  assert result["slowest_s"] < 5
  # The mutations reach what they are for: each kind of file is refused by
  # some, and the kinds with checksums per plane decode with damage by some.
  for sample in fuzz.samples():
    assert result["outcomes"][f"{sample.name}: refused"] > 10
    if sample.name not in ("version 1", "raw"):
      assert result["outcomes"][f"{sample.name}: damaged"] > 50


def test_what_is_not_mutated_decodes(fuzz):
  for sample in fuzz.samples():
    assert fuzz.outcome(sample, sample.data) == "decoded"
