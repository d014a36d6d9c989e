"""Which step to read, and the best checkpoint of a run by a held-out metric.

The meta of a checkpoint has what was measured on held-out clips at its step,
{"held_out": {name: value}}, where its step was validated. So the best follows
from the checkpoints that are there and from nothing else: it is right after a
resume, a rollback and damage. Checkpoints without it are no candidates.
"""

import math
from collections.abc import Iterable, Mapping

from absl import logging

from soundstream_jax import errors, metrics
from soundstream_jax.checkpoint import folder, mistaken
from soundstream_jax.devices import distributed

BEST = "best"


def parse(text: str) -> int | str:
  """Reads a step as it is typed: a number, or 'best'.

  Raises:
    InputError: neither.
  """
  if text == BEST:
    return text
  if not (text.isascii() and text.isdecimal()):
    raise errors.InputError(
      f"step {text!r} is not a whole number. Give the step of a checkpoint, or "
      f"'{BEST}'."
    )
  return int(text)


def chosen(workdir, step: int | str) -> int:
  """Returns the step of a checkpoint that is there.

  Args:
    workdir: of a run.
    step: its number, or 'best'.

  Raises:
    InputError: no such checkpoint; for 'best' also where nothing says which.
  """
  if isinstance(step, str):
    step = parse(step)
  if not folder.steps(workdir):
    raise mistaken.error(workdir)
  if step == BEST:
    return _best(workdir)
  folder.check_step(workdir, step)
  return step


def check_metric(name: str) -> None:
  """Refuses a value of checkpoint.best_of that training does not measure.

  '' is off.

  Raises:
    InputError: with the metrics that it measures.
  """
  measured_ones = metrics.while_training()
  if not name or name in measured_ones:
    return
  wrong = (
    f"checkpoint.best_of={name!r} is measured by evaluation, not while training."
    if name in metrics.METRICS
    else f"checkpoint.best_of={name!r} is no metric."
    f"{errors.nearest(name, measured_ones)}"
  )
  raise errors.InputError(
    f"{wrong} Use one of {', '.join(measured_ones)}, or '' for none."
  )


def of(measured: Mapping[int, Mapping[str, float]], name: str) -> int | None:
  """Returns the best step by a metric; the earlier of equals, None of none.

  Args:
    measured: step -> metric -> mean over the held-out clips.
    name: of the metric.
  """
  sign = -1 if metrics.METRICS[name].higher_is_better else 1
  ranked = [
    (sign * values[name], step)
    for step, values in measured.items()
    if math.isfinite(values.get(name, math.nan))
  ]
  return min(ranked)[1] if ranked else None


def measured(workdir) -> dict[int, dict[str, float]]:
  """Returns step -> metric -> mean, of the checkpoints that have it."""
  found = {}
  for step in folder.steps(workdir):
    try:
      values = folder.read_meta(workdir, step).get("held_out")
    except (OSError, ValueError):  # damaged, or pruned just now
      continue
    if values:
      found[step] = values
  return found


class Record:
  """The best of a run so far, while it trains.

  Of several processes the primary's counts: it prunes, and `train/saves.py`
  hands its decisions to the others.
  """

  def __init__(self, workdir, name: str):
    """Args: name is checkpoint.best_of; with '' there is never a best one."""
    self._name = name
    self._measured = measured(workdir) if name else {}
    if distributed.is_primary():
      self._forget_damaged(workdir)

  def improves(self, held_out: Mapping[str, float]) -> bool:
    """Whether a step with these means is better than every checkpoint."""
    if not self._name:
      return False
    now = math.inf  # a step after all that there are: a tie is no improvement
    return of({**self._measured, now: held_out}, self._name) == now

  def note(self, step: int, held_out: Mapping[str, float] | None) -> None:
    """Counts a step whose checkpoint is being written."""
    if held_out:
      self._measured[step] = dict(held_out)

  def among(self, steps: Iterable[int]) -> int | None:
    """Returns the best of some steps."""
    if not self._name:
      return None
    there = {s: self._measured[s] for s in steps if s in self._measured}
    return of(there, self._name)

  def text(self, held_out: Mapping[str, float]) -> str:
    """Says the value that counts."""
    return metrics.METRICS[self._name].text(held_out[self._name])

  def _forget_damaged(self, workdir) -> None:
    """A checkpoint that cannot be read keeps no better one away."""
    while (step := self.among(self._measured)) is not None:
      reason = folder.damage(workdir, step)
      if reason is None:
        return
      logging.error(
        "the checkpoint of step %d, the best by %s, is damaged: %s. It no "
        "longer counts as the best.",
        step,
        self._name,
        reason,
      )
      del self._measured[step]


def _best(workdir) -> int:
  """Returns the best step by the metric that the run was told to keep it by."""
  present = folder.steps(workdir)
  config = folder.read_config(workdir)
  if config is None and present:
    config = folder.read_meta(workdir, present[-1])["config"]
  name = (config or {}).get("checkpoint", {}).get("best_of", "")
  if not name:
    raise errors.InputError(
      f"step '{BEST}': {workdir} does not say by which metric. Train with "
      "--config.checkpoint.best_of=NAME (one of "
      f"{', '.join(metrics.while_training())}; it may be added on resume), or give a "
      f"number. Present: {', '.join(map(str, present)) or 'none'}."
    )
  check_metric(name)
  step = of(measured(workdir), name)
  if step is None:
    raise errors.InputError(
      f"step '{BEST}': no checkpoint of {workdir} was saved at a step with a "
      f"held-out {name}. Train on to a step of evaluation.every_steps, or give "
      f"a number. Present: {', '.join(map(str, present)) or 'none'}."
    )
  return step
