"""python -m benchmarks.streaming: encoding and decoding live, on one core.

Each case runs in `--runs` processes (see `frames`), of which the best is
printed. Wall time counts what other programs take from the core: with load on
the machine only the median says what a frame costs, so the 99th percentile of
processor time stands beside that of wall time. Where encoder and decoder take
turns, as in a call, each finds less of its weights in the cache.

Two bounds, as factors of real time for both sides: reading weights and
codebooks once per frame, at the rate at which numpy multiplies vectors of that
size, and the frame's products at the rate of a large product, on that core.
"""

import sys

from absl import app, flags

from benchmarks import frames
from soundstream_jax import errors

_CASES = flags.DEFINE_list(
  "cases", ["8:8", "16:8", "32:8", "32:24"], "Channels : quantizers."
)
_FRAMES = flags.DEFINE_integer("frames", 10_000, "To time.", lower_bound=1)
_RUNS = flags.DEFINE_integer("runs", 3, "Processes, of which the best counts.")
_BLOCK = flags.DEFINE_integer("block_frames", 1, "Frames to a step.")
_THREADS = flags.DEFINE_integer("threads", 1, "Cores that a process may use.")


def main(_):
  sys.exit(errors.run(_measure))


def _measure() -> None:
  print(
    f"{'C':>3}{'Q':>4}  {'encode, ms: median, p99 (CPU)':>30}"
    f"{'decode, ms':>25}  {'times real time: encode, decode, both':>37}"
    f"{'in turns':>10}{'bytes':>7}{'products':>10}{'cores':>7}{'load':>6}"
  )
  for name in _CASES.value:
    channels, quantizers = map(int, name.split(":"))
    best = frames.measure(
      frames.Case(channels, quantizers, _FRAMES.value, _BLOCK.value),
      runs=_RUNS.value,
      threads=_THREADS.value,
    )
    print(_line(channels, quantizers, best), flush=True)


def _line(channels: int, quantizers: int, r: dict) -> str:
  def times(side):
    return (
      f"{r[side]['median']:.2f}, {r[side]['p99']:.1f} "
      f"({r[side]['p99_processor']:.1f})"
    )

  factors = f"{r['encode']['factor']:.1f}, {r['decode']['factor']:.1f}, "
  return (
    f"{channels:>3}{quantizers:>4}  {times('encode'):>30}"
    f"{times('decode'):>25}  {factors + format(r['both'], '.1f'):>37}"
    f"{r['in_turns']:>10.1f}{r['limit_of_bytes']:>7.1f}"
    f"{r['limit_of_products']:>10.1f}{r['cores']:>7.2f}{r['load']:>6.1f}"
  )


if __name__ == "__main__":
  app.run(main)
