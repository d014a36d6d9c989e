"""Long inputs through fixed windows: an hour in the memory of ten seconds.

The codec is causal and forgets: an output frame depends on `context` frames of
the past and on none of the future. So a window that starts `context` frames
early and drops those outputs gives what the whole input would give, up to
float rounding. All windows of a long input have one shape, which compiles once;
a short input is filled on the right to one of a few lengths.
"""

import dataclasses
from collections.abc import Callable

import numpy as np

# The window is a power of two times the shortest length that is compiled.
_HALVINGS = 3


@dataclasses.dataclass(frozen=True)
class Window:
  """Input frames [start, start + length), of which [keep, stop) are new."""

  start: int
  length: int
  keep: int
  stop: int


def plan(
  frames: int, *, context_frames: int, window_frames: int
) -> list[Window]:
  """Returns the windows whose kept frames are [0, frames), in order.

  Args:
    frames: of the input.
    context_frames: of the past that an output depends on.
    window_frames: of a long input's windows, more than `context_frames`.
  """
  if window_frames <= context_frames:
    raise ValueError(
      f"window_frames={window_frames} must exceed {context_frames}."
    )
  if frames <= 0:
    return []
  if frames <= window_frames:
    length = min(
      size for size in lengths(window_frames=window_frames) if size >= frames
    )
    return [Window(start=0, length=length, keep=0, stop=frames)]
  windows = [Window(0, window_frames, 0, window_frames)]
  while windows[-1].stop < frames:
    keep = windows[-1].stop
    # The last window ends with the input, so it needs no filling.
    start = min(keep - context_frames, frames - window_frames)
    stop = start + window_frames
    windows.append(Window(start, window_frames, keep, stop))
  return windows


def lengths(*, window_frames: int) -> list[int]:
  """Returns every length that `plan` uses, ascending."""
  return [-(-window_frames >> halving) for halving in range(_HALVINGS, -1, -1)]


def apply(
  function: Callable[[np.ndarray], np.ndarray],
  inputs: np.ndarray,
  *,
  context_frames: int,
  window_frames: int,
) -> np.ndarray:
  """Applies a causal function of frames to inputs of any length.

  Args:
    function: maps [F, ...] to [F, ...], for the lengths of `lengths`.
    inputs: [F, ...] with at least one frame.
    context_frames: as in `plan`.
    window_frames: as in `plan`.

  Returns:
    [F, ...], as `function(inputs)` up to float rounding.
  """
  outputs = []
  for window in plan(
    len(inputs), context_frames=context_frames, window_frames=window_frames
  ):
    part = inputs[window.start : window.start + window.length]
    filling = [(0, window.length - len(part))] + [(0, 0)] * (inputs.ndim - 1)
    result = function(np.pad(part, filling))
    outputs.append(
      np.asarray(result)[
        window.keep - window.start : window.stop - window.start
      ]
    )
  return np.concatenate(outputs)
