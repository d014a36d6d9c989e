"""Times runtimes in turns, so that other work on the machine slows all.

Seconds are the processor's: what the call takes on one core when nothing else
runs there. Wall time stands beside it.

A stream's block is timed as the difference of two calls, one of a single block
and one of several, so that what a call costs before its first block, and what
the caches lack then, does not count. Figures are medians over turns.
"""

import statistics
import time
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from soundstream_jax.export import format as format_lib

# Frames of a block -> blocks that are timed, beside the first.
BLOCKS = {1: 24, 8: 6}
# Whole files are timed in this share of the turns; they take long.
WHOLE_EVERY = 4

CLOCKS = {"processor": time.process_time, "wall": time.perf_counter}

Call = Callable[[], object]
Seconds = np.ndarray  # by each of CLOCKS


def measure(
  runtimes: Mapping[str, format_lib.Runtime],
  audio: np.ndarray,
  codes: np.ndarray,
  *,
  turns: int,
) -> dict[str, dict[str, dict[str, float]]]:
  """Times all runtimes, each piece in turns.

  Args:
    runtimes: name -> runtime.
    audio: float32 [N], whole frames: a whole file, whose begin is streamed.
    codes: int32 [F, Q] of it.
    turns: of each piece; whole files have fewer.

  Returns:
    name -> 'processor' or 'wall' -> piece -> seconds: 'encode' and 'decode' of
    the whole file, and 'encode 8' of a block of eight frames. A runtime lacks
    what it cannot do.
  """
  pieces = {
    name: _pieces(runtime, audio, codes) for name, runtime in runtimes.items()
  }
  for calls in pieces.values():
    for call in calls.values():
      call()  # compiles
  found = {
    name: {piece: [] for piece in calls} for name, calls in pieces.items()
  }
  order = list(pieces)
  for turn in range(turns):
    # Each is first in its turn: none always follows the same one.
    order = order[1:] + order[:1]
    for piece in dict.fromkeys(p for calls in pieces.values() for p in calls):
      if " " not in piece and turn % WHOLE_EVERY:
        continue
      for name in order:
        if piece in pieces[name]:
          found[name][piece].append(pieces[name][piece]())
  return {
    name: {
      clock: {
        piece: statistics.median(times[index] for times in of_piece)
        for piece, of_piece in of_pieces.items()
      }
      for index, clock in enumerate(CLOCKS)
    }
    for name, of_pieces in found.items()
  }


def _pieces(
  runtime: format_lib.Runtime, audio: np.ndarray, codes: np.ndarray
) -> dict[str, Callable[[], Seconds]]:
  """Returns piece -> what runs it once and returns its seconds."""
  layers = codes.shape[1]
  pieces = {
    "encode": lambda: _seconds(
      lambda: runtime.encode(audio[None], num_quantizers=layers)
    ),
    "decode": lambda: _seconds(lambda: runtime.decode(codes[None])),
  }
  for length, count in BLOCKS.items():
    enough = (1 + count) * length <= len(codes)
    able = runtime.blocks is not None and length in (runtime.blocks or [length])
    if enough and able:
      stream = _Stream(runtime, audio, codes, length, count)
      pieces[f"encode {length}"] = stream.encode
      pieces[f"decode {length}"] = stream.decode
  return pieces


class _Stream:
  """Blocks of one length through one runtime."""

  def __init__(self, runtime, audio, codes, length: int, count: int):
    self._runtime = runtime
    self._audio, self._codes = audio[None], codes[None]
    self._hop = len(audio) // len(codes)
    self._length, self._count = length, count

  def encode(self) -> Seconds:
    """Returns the seconds of a block."""

    def run(blocks: Sequence[int]):
      samples = sum(blocks) * self._hop
      self._runtime.encode_stream(
        self._audio[:, :samples], blocks, num_quantizers=self._codes.shape[2]
      )

    return self._difference(run)

  def decode(self) -> Seconds:
    """Likewise."""

    def run(blocks: Sequence[int]):
      codes = self._codes[:, : sum(blocks)]
      layers = np.full(codes.shape[:2], codes.shape[2], np.int32)
      self._runtime.decode_stream(codes, layers, blocks)

    return self._difference(run)

  def _difference(self, run: Callable[[Sequence[int]], None]) -> Seconds:
    one = _seconds(lambda: run([self._length]))
    more = _seconds(lambda: run([self._length] * (1 + self._count)))
    return (more - one) / self._count


def _seconds(call: Call) -> Seconds:
  start = [clock() for clock in CLOCKS.values()]
  call()
  return np.subtract([clock() for clock in CLOCKS.values()], start)
