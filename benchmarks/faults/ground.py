"""What all faults stand on: one dataset, compiled programs, undisturbed runs."""

import dataclasses
import functools
import json
import os
import pathlib
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from typing import Any

import numpy as np

from benchmarks.faults import (
  background_job,
  cases,
  leftovers,
  log,
  saved_arrays,
)

INSIDE = pathlib.Path(__file__).parent / "inside"

LAST_STEP = 24
# `tiny`, so small that Python's own start is most of a job.
OVERRIDES = {
  "num_steps": LAST_STEP,
  "checkpoint.every_steps": 8,
  "evaluation.every_steps": 8,
  "evaluation.at_steps": "()",
  "evaluation.num_clips": 2,
  "evaluation.clip_samples": 9_600,
  "logging.every_steps": 1,
  "logging.tensorboard": False,
  "model.encoder_channels": 4,
  "model.decoder_channels": 4,
  "quantizer.num_quantizers": 4,
  "quantizer.kmeans_batches": 2,
  "loss.spectral_windows": "(256,)",
}
# A process that is silent for so long is dead: longer than the watchdog takes to
# name one.
HEARTBEAT_SECONDS = 25
# Processes that have not found each other by then give up.
JOIN_SECONDS = 45


@dataclasses.dataclass(frozen=True)
class Undisturbed:
  """A run to which nothing happened.

  Attributes:
    workdir: with its checkpoints.
    seconds: from its start to its end.
    lengths: seconds into each phase, by (phase, count), that any run of so many
      processes surely comes to.
    steps: seconds that each step took.
    arrays: of its last checkpoint.
  """

  workdir: pathlib.Path
  seconds: float
  lengths: Mapping[tuple[str, int], float]
  steps: Mapping[int, float]
  arrays: Mapping[str, np.ndarray]


class Ground:
  """A folder with what is made once."""

  def __init__(
    self, folder: pathlib.Path, *, rehearses=True, keeps: bool = False
  ):
    """Args:
    folder: for everything.
    rehearses: an undisturbed run is run twice, and its second time counts:
      what the first compiles, it finds compiled, as all others will.
    keeps: undisturbed runs that are there are not run again.
    """
    self.folder = folder.absolute()
    self._rehearses, self._keeps = rehearses, keeps
    self._locks = {count: threading.Lock() for count in (0, 1, 2, 4)}
    self._undisturbed = {}

  def undisturbed(self, processes: int) -> Undisturbed:
    """Returns the undisturbed run of so many processes; made at first use."""
    with self._locks[processes]:
      if processes not in self._undisturbed:
        self._undisturbed[processes] = self._run(processes)
      return self._undisturbed[processes]

  @functools.cached_property
  def dataset(self) -> pathlib.Path:
    """A minute of synthetic voices."""
    out = self.folder / "voices"
    with self._locks[0]:
      if not out.exists():
        subprocess.run(
          [
            sys.executable,
            "-m",
            "soundstream_jax.data_pipelines.prepare",
            "--dataset=synthetic",
            "--minutes=1",
            f"--out={out}",
          ],
          check=True,
          stdout=subprocess.DEVNULL,
          stderr=subprocess.DEVNULL,
        )
    return out

  def job(
    self,
    fault: cases.Fault,
    workdir: pathlib.Path,
    folder: pathlib.Path,
    injected: Mapping[str, Any] | None,
  ) -> background_job.Job:
    """Starts the job of a fault.

    Args:
      fault: the row.
      workdir: of the run.
      folder: of this fault alone.
      injected: for `sitecustomize`; None disturbs nothing.
    """
    values = {
      **OVERRIDES,
      "data.sources": self.dataset,
      "compilation_cache": self.folder / "programs",
      **fault.overrides,
    }
    environment = {leftovers.MARK: str(folder), "PYTHONUNBUFFERED": "1"}
    if injected is not None:
      path = os.environ.get("PYTHONPATH")
      environment |= {
        **fault.environment,
        "PYTHONPATH": f"{INSIDE}{os.pathsep}{path}" if path else str(INSIDE),
        "SOUNDSTREAM_FAULT": json.dumps(injected),
      }
    return background_job.Job(
      f"--processes={fault.processes}",
      "--devices=1",
      "--restarts=2",
      f"--heartbeat_seconds={HEARTBEAT_SECONDS}",
      training=[
        "--config=tiny",
        f"--workdir={workdir}",
        f"--join_seconds={JOIN_SECONDS}",
        *(f"--config.{name}={value}" for name, value in values.items()),
      ],
      xla_flags=background_job.QUICK_COMPILATION,
      environment=environment,
      launched=fault.launched,
    )

  def _run(self, processes: int) -> Undisturbed:
    folder = self.folder / f"undisturbed-{processes}"
    measured = folder / "measured.json"
    if not (self._keeps and measured.exists()):
      for _ in range(2 if self._rehearses else 1):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        measured.write_text(json.dumps(self._measure(processes, folder)))
    found = json.loads(measured.read_text())
    return Undisturbed(
      folder / "run",
      found["seconds"],
      _lengths(folder / "marks-0", share=0.6 if self._rehearses else 0.25),
      {int(step): seconds for step, seconds in found["steps"].items()},
      saved_arrays.read(folder / "run", LAST_STEP),
    )

  def _measure(self, processes: int, folder: pathlib.Path) -> dict[str, Any]:
    fault = cases.Fault(f"{processes}/nothing/never", processes)
    began = time.monotonic()
    with self.job(
      fault, folder / "run", folder, self.injected(fault, folder)
    ) as job:
      code = job.end(seconds=600)
      seconds = time.monotonic() - began
    if code:
      raise RuntimeError(
        f"the undisturbed run of {processes} processes ended with exit code "
        f"{code}: {job.text[-2000:]}"
      )
    steps = log.step_seconds(job.lines, job.times)
    return {"seconds": seconds, "steps": steps}

  def injected(
    self, fault: cases.Fault, folder: pathlib.Path, **more
  ) -> dict[str, Any]:
    """Returns what `sitecustomize` reads; by default nothing happens."""
    return {
      "folder": str(folder),
      "processes": [],
      "num_processes": fault.processes,
      "phase": fault.phase,
      "action": fault.action,
      "count": 1,
      "delay": None,
      "last_step": LAST_STEP,
      "step_seconds": 0,
      **fault.details,
      **more,
    }


def _lengths(
  marks: pathlib.Path, *, share: float
) -> dict[tuple[str, int], float]:
  """Returns that share of each phase that has a beginning and an end."""
  begun, found = {}, {}
  for line in map(json.loads, marks.read_text().splitlines()):
    if line["event"] == "begins":
      begun[line["phase"]] = line["seconds"]
    elif line["phase"] in begun:
      since = line["seconds"] - begun.pop(line["phase"])
      found[line["phase"], line["count"]] = share * since
  return found
