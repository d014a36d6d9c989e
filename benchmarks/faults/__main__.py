"""python -m benchmarks.faults: does a run come through a hundred faults?

Trains a small `tiny` on 1, 2 and 4 processes of this machine, and disturbs each
run once: processes are killed, stopped and told to stop in every phase, disks
are full, reads fail, checkpoints are damaged, clocks jump. A fault has to be
survived by the job itself (recovered) or end in one line with the reason, after
which the same command finishes the run (refused, or stopped as it was asked);
at most 60 s of work may be lost, and the end has every bit of an undisturbed
run's. `cases` has the table, `inside` what happens in the processes.

Results are written as they come; `--resume` goes on after them. Logs are kept,
and the workdirs of what failed. Exit code 0 if no fault failed, else 1.
"""

import argparse
import concurrent.futures
import fnmatch
import os
import pathlib
import random
import signal
import sys
import time

from absl import logging

from benchmarks.faults import cases, leftovers, report
from soundstream_jax import errors, paths

ROOT = pathlib.Path(__file__).parents[2]


def main() -> int:
  given = _parse()
  chosen = _chosen(given)
  if given.list:
    for fault in chosen:
      print(fault.name)
    return 0
  os.environ["JAX_PLATFORMS"] = "cpu"  # here, arrays are compared
  logging.set_verbosity(logging.ERROR)  # Orbax remarks on every array
  from benchmarks.faults import ground as ground_lib
  from benchmarks.faults import trial

  signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))
  began = time.monotonic()
  out = given.out.resolve()
  results = report.Results(given.json or out / "results.json", given.seed)
  if given.resume:
    results.load()
  waiting = [fault for fault in chosen if fault.name not in results.names]
  ground = ground_lib.Ground(out, keeps=given.resume)
  report.print_head()
  for name in sorted(results.names & {fault.name for fault in chosen}):
    report.print_row(results.of(name))
  with concurrent.futures.ThreadPoolExecutor(given.jobs) as pool:
    running = [
      pool.submit(trial.run, ground, fault, seed=given.seed)
      for fault in waiting
    ]
    try:
      for done in concurrent.futures.as_completed(running):
        results.add(done.result())
        report.print_row(done.result())
    except BaseException:
      # Then the jobs that run end, and what they wait in is cleared up.
      for one in running:
        one.cancel()
      leftovers.kill(out, patience=0)
      raise
  passed = results.passed([fault.name for fault in chosen])
  print(
    f"\n{passed} of {len(chosen)} recovered or refused with the reason; "
    f"{time.monotonic() - began:.0f} s"
  )
  return 0 if passed == len(chosen) else 1


def _parse() -> argparse.Namespace:
  parser = argparse.ArgumentParser(
    prog="python -m benchmarks.faults",
    description=__doc__.split("\n")[0].partition(": ")[2],
  )
  parser.add_argument("--only", default="*", help="a pattern: '*/kill*/save*'")
  parser.add_argument("--processes", default="1,2,4", help="of the jobs")
  parser.add_argument("--count", type=int, help="only so many, drawn")
  parser.add_argument("--seed", type=int, default=0, help="of the moments")
  parser.add_argument("--jobs", type=int, default=1, help="faults at a time")
  parser.add_argument("--list", action="store_true", help="names alone")
  parser.add_argument("--json", type=_path, help="file for the results")
  parser.add_argument(
    "--resume", action="store_true", help="go on after a kill"
  )
  parser.add_argument(
    "--out",
    type=_path,
    default=ROOT / "out" / "faults",
    help="folder for runs, and for the logs of what failed",
  )
  return parser.parse_args()


def _path(text: str) -> pathlib.Path:
  return pathlib.Path(paths.argument(text))


def _chosen(given: argparse.Namespace) -> list[cases.Fault]:
  counts = given.processes.split(",")
  chosen = [
    fault
    for fault in cases.faults()
    if str(fault.processes) in counts
    and fnmatch.fnmatchcase(fault.name, given.only)
  ]
  if not chosen:
    sys.exit(
      f"--only={given.only} --processes={given.processes}: there is no such "
      "fault. --list shows the names."
    )
  if given.count is not None and given.count < len(chosen):
    drawn = random.Random(given.seed).sample(range(len(chosen)), given.count)
    chosen = [chosen[index] for index in sorted(drawn)]
  return chosen


if __name__ == "__main__":
  sys.exit(errors.run(main))
