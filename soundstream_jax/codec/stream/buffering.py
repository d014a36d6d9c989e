"""Gathers input of any length into blocks and runs the step on each."""

from collections.abc import Callable

import jax
import numpy as np

from soundstream_jax import errors
from soundstream_jax.codec.stream import state as state_lib


class BlockBuffer:
  """B streams on their way through one compiled step.

  What a stream is cut into depends on the block's length alone, so results do
  not depend on the chunks.
  """

  def __init__(
    self,
    step: Callable,
    variables: state_lib.Variables,
    state: state_lib.State,
    *,
    block: np.ndarray,
    nothing: np.ndarray,
    denoise: bool,
  ):
    """Starts streams.

    Args:
      step: (variables, state, block, denoise [B]) -> (state, result), compiled.
      variables: of `step.prepare`.
      state: of `step.prepare`.
      block: [B, N, ...], what fills the last block of a stream.
      nothing: [B, 0, ...], the result of no block.
      denoise: for all streams.
    """
    self._step = step
    self._variables = variables
    self._state = state
    self._block, self._nothing = block, nothing
    self._pending = block[:, :0]
    self._denoise = jax.device_put(np.full((self.streams,), denoise))

  @property
  def streams(self) -> int:
    return len(self._block)

  @property
  def pending(self) -> int:
    """Items that wait for their block to be whole."""
    return self._pending.shape[1]

  def push(self, items: np.ndarray) -> np.ndarray:
    """Takes [B, N, ...]; returns the results of the blocks that are whole."""
    length, waiting = self._block.shape[1], items
    if self.pending:
      waiting = np.concatenate([self._pending, items], axis=1)
    elif items.shape[1] == length:
      return np.array(self._take(items))  # the caller's, who may write to it
    whole = waiting.shape[1] // length * length
    results = [
      self._take(waiting[:, start : start + length])
      for start in range(0, whole, length)
    ]
    # A copy: the caller may write over its chunk, or let go of it.
    self._pending = waiting[:, whole:].copy()
    # Only now: while the host waits for one block the next are computed.
    return np.concatenate([self._nothing, *map(np.asarray, results)], axis=1)

  def _take(self, block: np.ndarray) -> jax.Array:
    self._state, result = self._step(
      self._variables, self._state, block, self._denoise
    )
    return result

  def flush(self) -> np.ndarray:
    """Steps over what is left, filled, and begins anew."""
    filling = self._block[:, self.pending :] if self.pending else self._pending
    result = self.push(filling)
    self.reset()
    return result

  def reset(self, which: np.ndarray | None = None) -> None:
    """Begins streams anew: all, or those of a bool mask [B].

    Raises:
      InputError: some, while items wait for their block to be whole.
    """
    if which is None:
      self._pending = self._block[:, :0]
    elif self.pending:
      raise errors.InputError(
        f"{self.pending} of the {self._block.shape[1]} of a block are waiting: "
        "single streams can begin anew between blocks only."
      )
    else:
      which = np.asarray(which, bool)
    self._state = state_lib.reset(self._state, which)
