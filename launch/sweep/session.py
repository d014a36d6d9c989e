"""One call of the command: what it shows, and what it runs."""

import pathlib
import re
from collections.abc import Sequence

import jax

from soundstream_jax import console, errors
from soundstream_jax.launch.sweep import (
  baselines,
  folder,
  local,
  provenance,
  results,
  states,
  stopping,
  table,
)
from soundstream_jax.launch.sweep import plan as plan_lib
from soundstream_jax.launch.sweep.cost import speed


class Session:
  """A sweep that is shown, launched and watched."""

  def __init__(self, plan: plan_lib.Plan):
    self.plan = plan
    self._before = speed.of_this_device()
    self._rate = self._before
    self._rows = []
    self._told = set()
    self._calibrate(plan.look())

  def show_plan(self, launcher: str) -> None:
    """Prints the points, and what else is to be known before they run."""
    plan = self.plan
    fixed = plan.sweep.fixes or "neither bitrate nor depth"
    local.say(
      f"sweep {plan.sweep.name}, preset {console.shown(plan.preset)}: "
      f"{len(plan.points)} points, {fixed} fixed, in {console.shown(plan.out)}"
    )
    local.say(table.plan(self._rows))
    for field in plan.common:
      own = [p.name for p in plan.points if field in p.point.overrides]
      if own:
        local.say(f"--config.{field}: the sweep sets it in {', '.join(own)}")
    total = sum(row["predicted_seconds"] for row in self._rows)
    local.say(
      f"predicted: {table.time(total)} in all, one after the other, by "
      f"{self._rate.source}"
      + ("" if launcher == "local" else ", not of the cluster")
      * (self._rate is self._before)
    )
    for path in folder.dropped(plan.out, [p.point for p in plan.points]):
      local.say(f"no longer in the sweep, and kept: {console.shown(path)}")

  def show_script(self, launcher: str, *, at_once: int | None) -> int:
    """Prints what a cluster would be given; returns the exit code."""
    if launcher == "slurm":
      from soundstream_jax.launch.sweep import slurm

      slurm.check(self.plan)
      points = self.plan.out / slurm.FOLDER / "1.points"
      script, tasks = slurm.script(
        self.plan, self.plan.points, at_once=at_once, points=points
      )
      print(f"\n# {console.shown(points)}\n{tasks}\n{script}", end="")
    elif launcher == "gke":
      from soundstream_jax.launch.sweep import gke

      texts = gke.manifests(self.plan, self.plan.points).values()
      print("---\n" + "---\n".join(texts), end="")
    return 0

  def launch(
    self,
    launcher: str,
    *,
    only: re.Pattern[str],
    retry: bool,
    at_once: int | None,
    others: str,
  ) -> int:
    """Runs what is missing; returns the exit code.

    Args:
      launcher: 'local', 'slurm' or 'gke'.
      only: finds the names of the points that may run.
      retry: points that failed are run, too.
      at_once: how many points together; None: as the launcher likes.
      others: baselines to measure, '' for none.
    """
    plan = self.plan
    found = plan.look()
    if not any(only.search(each.name) for each in plan.points):
      raise errors.InputError(
        f"--only={only.pattern} finds no point. The points: "
        f"{', '.join(each.name for each in plan.points)}."
      )
    left, failed = [], []
    for each, state in zip(plan.points, found, strict=True):
      if not only.search(each.name) or state.name == states.DONE:
        continue
      if state.name == states.FAILED and not retry:
        failed.append(each.name)
      else:
        left.append(each)
    with stopping.Stop(
      lambda name: local.say(f"{name}: all points save and stop")
    ) as stop:
      if launcher == "local":
        self._write()
        code = local.run(
          plan, left, at_once=at_once or 1, report=self.report, stop=stop
        )
      else:
        code = 0
        if answer := self._submit(launcher, left, found, at_once=at_once):
          local.say(answer)
      if others and not stop.asked.is_set():
        measured = baselines.measure(plan, others, plan.look(), stop=stop)
        code = measured or code
      self.report()
    if failed:
      local.say(f"failed before: {', '.join(failed)}. --retry runs them again.")
    return code or (local.EXIT_FAILED if failed else 0)

  def _submit(
    self,
    launcher: str,
    left: Sequence[plan_lib.Planned],
    found: Sequence[states.State],
    *,
    at_once: int | None,
  ) -> str:
    """Gives a cluster what it does not have yet; returns what it answers."""
    jobs = {
      each.name: state
      for each, state in zip(self.plan.points, found, strict=True)
    }
    if launcher == "slurm":
      from soundstream_jax.launch.sweep import slurm

      slurm.check(self.plan)
      has = slurm.queued()
    else:
      has = {s.job for s in jobs.values() if s.job and s.name == states.WAITING}
    new = [
      each
      for each in left
      if jobs[each.name].job not in has
      and jobs[each.name].name not in states.LIVE
    ]
    self._write()
    if not new:
      return ""
    if launcher == "slurm":
      return slurm.launch(self.plan, new, at_once=at_once)
    from soundstream_jax.launch.sweep import gke

    return gke.launch(self.plan, new)

  def _write(self) -> None:
    plan = self.plan
    folder.write(plan.out, plan.sweep, plan.preset, self._rows)

  def report(self) -> None:
    """Prints the states and writes what is known by now."""
    found = self.plan.look()
    self._calibrate(found)
    self._write()
    results.write(self.plan.out, self.plan.sweep.name, self._rows, found)
    local.say(table.states(self._rows, found))

  def _calibrate(self, found: Sequence[states.State]) -> None:
    """Predicts anew from the points that have been trained; says how far off."""
    trained = self.plan.trained(found)
    for name in trained.keys() - self._told:
      self._told.add(name)
      row = next((r for r in self._rows if r["name"] == name), None)
      if row is not None:
        took = trained[name].seconds
        local.say(
          f"[{name}] took {table.time(took)}; predicted "
          f"{table.time(row['predicted_seconds'])} by {self._rate.source} "
          f"(x {took / row['predicted_seconds']:.2f})"
        )
    self._rate = speed.of_points(list(trained.values()), self._before)
    here = provenance.hardware()
    if trained and all(
      state.hardware == here for state in found if state.hardware
    ):
      speed.keep(self._rate)
    self._rows = self.plan.rows(self._rate)


def open_(
  sweep: str,
  preset: str,
  out: pathlib.Path,
  words: Sequence[str],
  *,
  evaluation: str,
) -> Session:
  """Reads a sweep, which is refused where it cannot run."""
  # Points need the accelerators; counting needs none.
  jax.config.update("jax_platforms", "cpu")
  return Session(
    plan_lib.make(sweep, preset, out, words, evaluation=evaluation)
  )


def show_status(out: pathlib.Path) -> int:
  """Prints the states of a sweep that may be running; returns the exit code."""
  saved = folder.read(out)
  rows = saved["points"]
  found = [
    states.look(
      out / row["workdir"],
      num_steps=row["num_steps"],
      evaluation=row["evaluation"],
      out=out,
    )
    for row in rows
  ]
  results.write(out, saved["sweep"], rows, found)
  local.say(table.states(rows, found))
  return 0
