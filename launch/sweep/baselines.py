"""Other codecs on the clips of the points, measured once for the whole sweep."""

import time
from collections.abc import Sequence

from soundstream_jax import errors
from soundstream_jax.launch.sweep import local, states, stopping
from soundstream_jax.launch.sweep import plan as plan_lib
from soundstream_jax.launch.sweep import work as work_lib

NAME = "baselines"
_LOOK_SECONDS = 0.2
# Of a point's evaluation: baselines have no layers, and it has none of them.
_NOT = ("bitrates", "baselines", "codec")


def measure(
  plan: plan_lib.Plan,
  names: str,
  found: Sequence[states.State],
  *,
  stop: stopping.Stop,
) -> int:
  """Measures baselines on the clips of the first point that is done.

  Args:
    plan: of the sweep.
    names: of `evaluate --baselines`.
    found: the states of the points.
    stop: ends it; the same command goes on.

  Returns:
    The exit code.
  """
  done = [
    each
    for each, state in zip(plan.points, found, strict=True)
    if state.name == states.DONE
  ]
  if not done:
    local.say(f"[{NAME}] wait for a point that is done, which has the clips")
    return 0
  folder = plan.out / NAME
  kept = [w for w in plan.evaluation if w.lstrip("-").split("=")[0] not in _NOT]
  words = [*kept, "--bitrates=none", f"--baselines={names}"]
  if states.evaluated(folder, words):
    return 0
  local.say(f"[{NAME}] {names} are measured on the clips of {done[0].name}")
  work = work_lib.Work(
    folder,
    training=None,
    evaluation=words,
    log=folder / work_lib.LOG,
    model=done[0].workdir,
    to=folder,
  )
  while (code := work.poll()) is None:
    if stop.asked.is_set():
      work.stop()
    time.sleep(_LOOK_SECONDS)
  if code == errors.EXIT_PREEMPTED:
    return code
  if code:
    local.say(f"[{NAME}] {states.why(folder, folder)}")
    return local.EXIT_FAILED
  return 0
