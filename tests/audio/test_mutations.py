"""A law of hostile files: sound, or one line that names the file."""

import random

import numpy as np
import pytest
import soundfile

from soundstream_jax import errors
from soundstream_jax.audio import reading

FORMATS = ("WAV", "WAVEX", "RF64", "W64", "AIFF", "CAF", "AU", "FLAC", "OGG")
FORMATS += ("MP3", "SDS", "VOC", "NIST", "PAF", "SVX", "AVR", "XI", "MAT5")
MUTATIONS = 60


def _mutated(data, chance):
  """Bytes that are changed, lost, added, or cut off."""
  kind = chance.randrange(5)
  place = chance.randrange(len(data))
  if kind == 0:  # in the header
    for _ in range(chance.randint(1, 6)):
      value = chance.choice([0, 255, 127, 128, chance.randrange(256)])
      data[chance.randrange(min(len(data), 120))] = value
  elif kind == 1:
    for _ in range(chance.randint(1, 30)):
      data[chance.randrange(len(data))] = chance.randrange(256)
  elif kind == 2:
    del data[place:]
  elif kind == 3:
    del data[place : place + chance.randint(1, 4_000)]
  else:
    data[place:place] = data[: chance.randint(1, 200)]
  return bytes(data)


@pytest.mark.parametrize("kind", FORMATS)
def test_a_mutated_file_is_sound_or_one_line(kind, tmp_path, capfd):
  whole, path = tmp_path / "whole", tmp_path / "mutated"
  tone = 0.3 * np.sin(np.arange(4_000) / 7)
  soundfile.write(whole, tone, 8_000, format=kind)
  chance = random.Random(kind)
  for number in range(MUTATIONS):
    path.write_bytes(_mutated(bytearray(whole.read_bytes()), chance))
    try:
      with reading.opened(path) as sound:
        samples = sum(len(block) for block in sound.blocks())
      assert 0 < samples == sound.samples, number
      assert "\n" not in sound.damage
    except errors.InputError as error:
      assert str(path) in str(error) and "\n" not in str(error), number
  assert capfd.readouterr().out == ""  # where codes may go
