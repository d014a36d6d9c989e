"""python -m benchmarks.data: how fast worker processes make examples.

For each kind of example and length of crop: examples and seconds of audio that
arrive in the parent process per second, as training would take them, after a
warm-up. Without --speech, --noise and --rooms, datasets are synthetic; their
records of ten seconds are read and mixed like any others.
"""

import os
import pathlib
import sys
import tempfile
import time

import numpy as np
from absl import app, flags

from soundstream_jax import config as config_lib
from soundstream_jax import errors
from soundstream_jax.data import loader
from soundstream_jax.data_pipelines import prepare
from soundstream_jax.data_pipelines.preparation import records
from soundstream_jax.devices import host_memory
from soundstream_jax.settings import path_flags

_DATASETS = {
  name: path_flags.define(name, "", f"Prepared dataset of {name}.")
  for name in ("speech", "noise", "rooms")
}
_WORKERS = flags.DEFINE_multi_integer("workers", [0, 1, 2], "Processes.", 0)
_CROPS = flags.DEFINE_multi_float("crops", [3.0, 1.0], "Seconds.", 0.1)
_SECONDS = flags.DEFINE_float("seconds", 6.0, "Of each measurement.")
_BATCH = flags.DEFINE_integer("batch", 32, "Examples.", lower_bound=1)

KINDS = ("speech", "noisy_speech", "noisy_reverberant_speech")
WARM_UP = 6
RATE_HZ = 24_000


def main(_):
  sys.exit(errors.run(_measure))


def _measure() -> None:
  host_memory.keep()  # as training does
  print(
    f"{'kind':26}{'crop':>6}{'workers':>9}{'examples/s':>12}{'audio s/s':>11}"
  )
  with tempfile.TemporaryDirectory() as folder:
    datasets = {
      name: flag.value or _synthetic(name, pathlib.Path(folder, name))
      for name, flag in _DATASETS.items()
    }
    for kind in KINDS:
      for seconds in _CROPS.value:
        for workers in _WORKERS.value:
          speed = _speed(datasets, kind, seconds, workers)
          print(
            f"{kind:26}{seconds:4g} s{workers:9}{speed:12.0f}"
            f"{speed * seconds:11.0f}",
            flush=True,
          )
  print(f"load {os.getloadavg()[0]:.1f}, {os.cpu_count()} CPUs")


def _speed(datasets, kind: str, seconds: float, workers: int) -> float:
  """Returns examples per second."""
  values = config_lib.default()
  values.update_from_flattened_dict(
    {
      "model.film": "encoder",
      f"data.mixture.{kind}": 1.0,
      "data.crop_samples": round(seconds * RATE_HZ / 320) * 320,
      "data.num_workers": workers,
      "batch_size": _BATCH.value,
      **{f"data.{name}": folder for name, folder in datasets.items()},
    }
  )
  config = config_lib.from_dict(values)
  count = 0
  with loader.train_loader(config) as batches:
    for _ in range(WARM_UP):
      next(batches)
    start = time.perf_counter()
    stop = start + _SECONDS.value
    while time.perf_counter() < stop:
      next(batches)
      count += _BATCH.value
    return count / (time.perf_counter() - start)


def _synthetic(name: str, out: pathlib.Path) -> str:
  """Prepares a dataset of 18 ten-second records, or of rooms."""
  if name == "rooms":
    rng = np.random.default_rng(0)
    decay = np.exp(-np.arange(RATE_HZ) / 2_000)
    audio = 9_000 * decay * rng.normal(size=decay.size)
    room = records.Piece("room", "room", audio.astype(np.int16))
    records.write(
      out,
      pieces={"train": lambda: iter([room])},
      sample_rate_hz=RATE_HZ,
      details={},
    )
    return str(out)
  kind = {"speech": "voices", "noise": "noises"}[name]
  prepare.main(
    ["", "--dataset=synthetic", f"--kind={kind}", "--minutes=4", f"--out={out}"]
  )
  return str(out)


if __name__ == "__main__":
  app.run(main)
