"""Runs the steps of a format over a file: block by block, the state carried."""

from collections.abc import Callable, Sequence

import numpy as np

# (frames, state, *arrays of a block) -> the new state, what the block became.
Step = Callable[..., tuple[np.ndarray, np.ndarray]]


def cut(frames: int, sizes: Sequence[int]) -> list[int]:
  """Returns blocks of these sizes, the largest first, that are so many frames.

  Args:
    frames: F.
    sizes: of blocks, one of which is 1.
  """
  blocks = []
  for size in sorted(sizes, reverse=True):
    blocks += [size] * (frames // size)
    frames %= size
  return blocks


def run(
  step: Step,
  state: np.ndarray,
  blocks: Sequence[int],
  *arrays: np.ndarray,
) -> np.ndarray:
  """Returns what all blocks became, one after the other along axis 1.

  Args:
    step: of the format.
    state: [B, S], zeros at the start of streams.
    blocks: frames of each, one at least.
    arrays: [B, F * n, ...] with any whole n of their own.
  """
  frames, start, outputs = sum(blocks), 0, []
  for block in blocks:
    end = start + block
    each = []
    for array in arrays:
      per_frame = array.shape[1] // frames
      each.append(array[:, start * per_frame : end * per_frame])
    state, output = step(block, state, *each)
    outputs.append(np.asarray(output))
    start = end
  return np.concatenate(outputs, axis=1)


def filled(codes: np.ndarray, num_quantizers: int) -> np.ndarray:
  """Returns codes [B, F, q] with zeros up to all layers, int32 [B, F, Q]."""
  missing = num_quantizers - codes.shape[-1]
  return np.pad(codes, ((0, 0), (0, 0), (0, missing))).astype(np.int32)
