"""python -m benchmarks.cpu: the paper's model on this CPU, beside PyTorch.

Both are first shown to compute the same function, then timed in turns, so that
other work on the machine slows both. A row's ratio is the median over turns of
the ratio within a turn; its limit is the time that the products of the
function take at the rate of a large matrix product, measured in the same run.
Last come live streams on one core (see `benchmarks.streaming`), alone. Writes
benchmarks/results.json. Needs `pip install -e ".[bench]"`.
"""

import datetime
import json
import os
import pathlib
import sys

import jax.numpy as jnp
from absl import app, flags, logging

from benchmarks import frames, sides
from soundstream_jax import config as config_lib
from soundstream_jax import errors, whole_files
from soundstream_jax.devices import host_memory
from soundstream_jax.settings import path_flags, presets

_PRESET = flags.DEFINE_string("preset", "soundstream_24khz", "What to measure.")
_BATCH = flags.DEFINE_integer("batch", 4, "Clips of a second.")
_TURNS = flags.DEFINE_integer("turns", 7, "Of each piece, after a warm-up.")
_JSON = path_flags.define(
  "json", str(pathlib.Path(__file__).with_name("results.json")), "For the rows."
)

TOLERANCE = 1e-4
MATRIX = 2_048
# Live, at 6 kbit/s.
STREAMS = [frames.Case(channels, 8, frames=2_000) for channels in (16, 32)]


def _row(piece, form, threads, seconds, ratio, limit) -> dict:
  return {
    "piece": piece,
    "form": form,
    "threads": threads,
    "audio_seconds_per_second": round(_BATCH.value / seconds, 3),
    "ratio_to_pytorch": round(ratio, 3),
    "share_of_limit": round(limit / seconds, 3),
  }


def _stream_rows(case: frames.Case) -> list[dict]:
  result = frames.measure(case, runs=1)
  return [
    {
      "piece": f"streaming_{side}",
      "form": f"C={case.channels}",
      "threads": 1,
      "audio_seconds_per_second": round(result[side]["factor"], 3),
      "ratio_to_pytorch": None,
      "share_of_limit": round(result[side]["share_of_limit"], 3),
    }
    for side in ("encode", "decode")
  ]


def main(_):
  sys.exit(errors.run(_measure))


def _measure() -> None:
  logging.set_verbosity(logging.WARNING)  # the table alone
  host_memory.keep()  # as training does
  values = presets.load(_PRESET.value)
  overrides = {
    "batch_size": _BATCH.value,
    "data.crop_samples": values.audio.sample_rate_hz,
    "quantizer.dropout": False,
  }
  values.update_from_flattened_dict(overrides)
  threads = len(os.sched_getaffinity(0))
  ours = sides.Ours(config_lib.from_dict(values))
  reference = sides.Reference(_PRESET.value, overrides)
  worst = sides.check(ours, reference, tolerance=TOLERANCE)
  print(f"reconstructions agree to {worst:.0e} of the largest sample")
  flops = reference.ask("flops", "")["flops"]
  print(f"{'piece':28}{'form':9}{'audio s/s':>9}{'ratio':>7}{'of limit':>10}")
  rows = []
  for piece in sides.PIECES:
    rate = sides.product_rate(MATRIX, jnp.float32)
    mine, theirs, ratio = sides.measure(
      ours, reference, piece, turns=_TURNS.value
    )
    limit = flops[piece] / rate
    rows += [
      _row(piece, "jax", threads, mine, ratio, limit),
      _row(piece, "pytorch", threads, theirs, 1, limit),
    ]
    for row in rows[-2:]:
      print(
        f"{row['piece']:28}{row['form']:9}"
        f"{row['audio_seconds_per_second']:9.2f}"
        f"{row['ratio_to_pytorch']:7.2f}{row['share_of_limit']:10.0%}",
        flush=True,
      )
  reference.close()
  for case in STREAMS:
    rows += _stream_rows(case)
    for row in rows[-2:]:
      print(
        f"{row['piece']:28}{row['form']:9}"
        f"{row['audio_seconds_per_second']:9.2f}{'':7}"
        f"{row['share_of_limit']:10.0%}",
        flush=True,
      )
  print(
    f"{datetime.date.today()}, {threads} threads, load {os.getloadavg()[0]:.1f}, "
    f"products at {rate / 1e9:.0f} GFLOP/s"
  )
  whole_files.write(_JSON.value, json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
  app.run(main)
