"""A law of long files: the codec's memory does not grow with them."""

import tracemalloc

import numpy as np
import pytest
import soundfile

from soundstream_jax.cli import __main__ as command

MINUTES = 2
# All of the long sound would be 46 MB, its codes 3.
SLACK_BYTES = 2_000_000


def _peak_bytes(*words):
  """What a command's arrays took in memory at most."""
  tracemalloc.start()
  try:
    assert command.main([str(word) for word in words]) == 0
    return tracemalloc.get_traced_memory()[1]
  finally:
    tracemalloc.stop()


@pytest.fixture
def sounds(tmp_path):
  """Files of half a minute, and of two, in stereo at another rate."""
  made = []
  for name, minutes in (("short", 0.5), ("long", MINUTES)):
    path = tmp_path / f"{name}.wav"
    noise = np.random.default_rng(0).normal(size=(30 * 48_000, 2)) * 0.1
    with soundfile.SoundFile(path, "w", 48_000, 2) as file:
      for _ in range(int(2 * minutes)):
        file.write(noise)
    made.append(path)
  return made


def test_memory_does_not_grow_with_a_file(
  sounds, workdir, loaded_once, tmp_path
):
  model = f"--model={workdir}"
  coded = [path.with_suffix(".sstr") for path in sounds]
  heard = [tmp_path / f"{path.stem}.decoded.wav" for path in sounds]
  for words in (
    [("encode", *pair, model) for pair in zip(sounds, coded, strict=True)],
    [
      ("decode", *pair, model, "--rate=source")
      for pair in zip(coded, heard, strict=True)
    ],
  ):
    short, long = words
    _peak_bytes(*short, "--force")  # compiles, and loads
    assert _peak_bytes(*long) < _peak_bytes(*short, "--force") + SLACK_BYTES
  assert soundfile.info(heard[1]).frames == MINUTES * 60 * 48_000
