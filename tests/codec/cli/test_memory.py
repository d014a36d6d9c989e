"""A law of long files: the codec's memory does not grow with them."""

import subprocess
import sys

import numpy as np
import pytest
import soundfile

# Runs a command, and prints the peak of its memory in MB.
PROGRAM = """
import resource, sys
from soundstream_jax.codec import __main__ as command
assert command.main(sys.argv[1:]) == 0
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3)
"""
MINUTES = 5
# What allocators keep; all of the sound would be 115 MB.
SLACK_MB = 30


def _peak_mb(*words):
  done = subprocess.run(
    [sys.executable, "-c", PROGRAM, *map(str, words)],
    capture_output=True,
    text=True,
    timeout=120,
    check=True,
  )
  return float(done.stdout.split()[-1])


@pytest.fixture
def sounds(tmp_path):
  """Files of half a minute, and of five, in stereo at another rate."""
  made = []
  for name, minutes in (("short", 0.5), ("long", MINUTES)):
    path = tmp_path / f"{name}.wav"
    noise = np.random.default_rng(0).normal(size=(30 * 48_000, 2)) * 0.1
    with soundfile.SoundFile(path, "w", 48_000, 2) as file:
      for _ in range(int(2 * minutes)):
        file.write(noise)
    made.append(path)
  return made


def test_memory_does_not_grow_with_a_file(sounds, workdir, tmp_path):
  model = f"--model={workdir}"
  coded = [path.with_suffix(".sstr") for path in sounds]
  heard = [tmp_path / f"{path.stem}.decoded.wav" for path in sounds]
  short, long = (
    _peak_mb("encode", sound, code, model)
    for sound, code in zip(sounds, coded, strict=True)
  )
  assert long < short + SLACK_MB
  short, long = (
    _peak_mb("decode", code, wav, model, "--rate=source")
    for code, wav in zip(coded, heard, strict=True)
  )
  assert long < short + SLACK_MB
  assert soundfile.info(heard[1]).frames == MINUTES * 60 * 48_000
