"""When a checkpoint is due, which all processes must answer alike.

By steps that is arithmetic. By seconds (checkpoint.every_seconds) the primary's
clock decides, AHEAD steps before, and the notice board tells the others. Why
the others then never wait for a notice, and why the board needs only the last
few: a process hands step k to its devices, calls `due(k)`, and reads the
metrics of step k-1 (or of k too) before it hands over k+1. Metrics are means
over the global batch, so who has read those of a step knows that every process
has handed that step over. Hence

* in its due(k) a process has read k-2, so the primary has handed over k-2 and
  left due(k-3), in which it posted for step k-3+AHEAD = k: the answer is there;
* in its due(k) the primary has read k-2 likewise, so the slowest of the others
  may still be about to ask about k-2, but about none before. After it promised
  to save step p it promises nothing until that checkpoint has begun, which is
  by due(p+2), for step p+2+AHEAD at the earliest; a third promise comes no
  sooner than in due(p+2+AHEAD+2), when nobody asks about p any more. So a
  notice of the last two promises answers whatever is still asked.

Nothing but the speed depends on this: who finds no answer waits for one, and
who finds one of a time too late for it fails. No clock but the primary's is
read, and that one never goes back (time.monotonic).
"""

import json
import time
from collections.abc import Mapping

import jax
import numpy as np
from jax.experimental import multihost_utils

from soundstream_jax import config as config_lib
from soundstream_jax.devices import board, distributed

# Steps from a decision to the checkpoint that it is about.
AHEAD = 3

# Promised steps that a notice names, and how far back it therefore answers.
_KEPT = 2
_ANSWERED = AHEAD + 2

# The answer is there, unless the service is slow; then something is wrong.
_WAIT_SECONDS = 300
_LOOK_SECONDS = 0.005


class Saves:
  """Says at which steps of one start a checkpoint is due."""

  def __init__(
    self,
    settings: config_lib.Checkpoint,
    *,
    first: int,
    start: int,
    primary: bool | None = None,
  ):
    """Starts the clock.

    Args:
      settings: every_steps and every_seconds.
      first: steps that were finished before this start.
      start: another number at each start of a job's processes (after a
        rollback they go on within the job), the same in all of them.
      primary: whether this process decides; None asks jax.
    """
    self._settings = settings
    self._name = f"saves/{start}"
    self._primary = distributed.is_primary() if primary is None else primary
    self._alone = primary is None and jax.process_count() == 1
    self._begun = time.monotonic()
    # No checkpoint is promised before the first decision could be about it.
    self._first, self._through = first, first + AHEAD
    self._promised: list[int] = []

  def due(self, step: int) -> bool:
    """Whether a step's state is to be saved.

    Every process calls this once for each step, in order, after it has handed
    that step to its devices and before it reads the step before.
    """
    promised = self._settings.every_seconds > 0 and self._is_promised(step)
    return promised or step % self._settings.every_steps == 0

  def begun(self) -> None:
    """Starts the clock anew: a checkpoint is being written."""
    self._begun = time.monotonic()

  def _is_promised(self, step: int) -> bool:
    if self._primary:
      self._decide(step)
    elif step > self._through:
      self._read(step)
    return step in self._promised

  def _decide(self, step: int) -> None:
    """Decides about step + AHEAD, and tells."""
    self._through = step + AHEAD
    # Those that may not have begun, or that are to come anyhow, are enough.
    near = range(max(step - 1, self._first + 1), self._through + 1)
    enough = any(
      other % self._settings.every_steps == 0 or other in self._promised
      for other in near
    )
    seconds = time.monotonic() - self._begun
    if seconds >= self._settings.every_seconds and not enough:
      self._promised = [*self._promised, self._through][-_KEPT:]
    if not self._alone:
      board.post(self._name, json.dumps([self._through, self._promised]))

  def _read(self, step: int) -> None:
    """Waits until the primary has decided about a step."""
    deadline = time.monotonic() + _WAIT_SECONDS
    while step > self._through:
      text = board.look(self._name)
      if text is not None:
        self._through, self._promised = json.loads(text)
      if step > self._through:
        if time.monotonic() > deadline:
          raise TimeoutError(
            f"process 0 has not said within {_WAIT_SECONDS} s whether step "
            f"{step} is saved"
          )
        time.sleep(_LOOK_SECONDS)
    if step < self._through - _ANSWERED:
      raise RuntimeError(
        f"process 0 is at step {self._through - AHEAD}, this one at {step}: "
        "too far behind to know whether that is saved"
      )


def agree(
  means: Mapping[str, float], *, improves: bool
) -> tuple[dict[str, float], bool]:
  """Returns the primary's means, the finite ones, and whether they improve.

  Hosts may differ in the last bit. Every process calls this.

  Args:
    means: metric -> mean over the held-out clips; the same metrics everywhere.
    improves: on the best checkpoint so far, as this process knows it.
  """
  values = np.asarray([*means.values(), improves], np.float64)
  if jax.process_count() > 1:
    # As bytes: jax would make float32 of them.
    told = multihost_utils.broadcast_one_to_all(values.view(np.uint8))
    values = np.asarray(told, np.uint8).view(np.float64)
  *found, improves = values.tolist()
  held_out = dict(zip(means, found, strict=True))
  finite = {k: v for k, v in held_out.items() if np.isfinite(v)}
  return finite, bool(improves)
