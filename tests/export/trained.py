"""A briefly trained `tiny`, and voices that it has not heard."""

import functools
import os
import pathlib
import subprocess
import sys

from soundstream_jax.codec import codec as codec_lib
from soundstream_jax.export import golden

# Enough for k-means, and for layers that are no longer as they were drawn.
STEPS = 120


def train(folder: pathlib.Path) -> pathlib.Path:
  """Trains below a folder and returns the workdir."""
  data, workdir = folder / "data", folder / "run"
  _run(
    "data_pipelines.prepare",
    "--dataset=synthetic",
    "--kind=voices",
    "--minutes=2",
    f"--out={data}",
  )
  _run(
    "train",
    "--config=tiny",
    f"--workdir={workdir}",
    f"--config.data.sources={data}",
    f"--config.num_steps={STEPS}",
    "--config.evaluation.num_clips=1",
  )
  return workdir


def _run(module: str, *words: str) -> None:
  done = subprocess.run(
    [sys.executable, "-m", f"soundstream_jax.{module}", *words],
    # One device, not those that tests are given.
    env=os.environ | {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": ""},
    capture_output=True,
    text=True,
  )
  assert done.returncode == 0, done.stderr


@functools.cache
def values_of(workdir: pathlib.Path, seconds: int) -> golden.Golden:
  """Returns what the model makes of so many seconds of a voice."""
  codec = codec_lib.Codec.load(workdir)
  audio = golden.sound(codec.sample_rate, codec.hop_samples, seconds)
  return golden.make(codec, audio)


def run_code(code: str, folder: pathlib.Path) -> str:
  """Runs Python in a folder, as a stranger would, and returns what it prints."""
  done = subprocess.run(
    [sys.executable, "-c", code],
    cwd=folder,
    env=os.environ | {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": ""},
    capture_output=True,
    text=True,
  )
  assert done.returncode == 0, done.stderr
  return done.stdout
