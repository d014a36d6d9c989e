"""A dozen of the hundred faults of `benchmarks.faults`, and laws of its table.

The others run by `make bench-faults`.
"""

import concurrent.futures
import fnmatch
import os
import pathlib
import subprocess
import sys

import pytest

from benchmarks.faults import cases, ground, log, trial

FAULTS = (
  "1/kill/compile",
  "1/kill/save",
  "1/SIGTERM to one/k-means",
  "1/SIGINT to the launcher/restore/resumed",
  "1/full disk/save",
  "1/full disk of logs/step",
  "1/read/fail always",
  "1/flipped byte/newest",
  "1/second copy/step",
  "1/clock/an hour back",
  "2/SIGTERM to one/compile/resumed",
  "2/older content/start/resumed",
)


@pytest.fixture(scope="module")
def results(request, tmp_path_factory):
  """The result of each fault that a test asks for, two at a time."""
  wanted = {item.name for item in request.session.items}
  table = {fault.name: fault for fault in cases.faults()}
  shared = ground.Ground(tmp_path_factory.mktemp("faults"), rehearses=False)
  with concurrent.futures.ThreadPoolExecutor(2) as pool:
    yield {
      name: pool.submit(trial.run, shared, table[name], seed=0)
      for name in FAULTS
      if any(f"[{name}]" in test for test in wanted)
    }


@pytest.mark.slow
@pytest.mark.alone
@pytest.mark.parametrize("name", FAULTS)
def test_a_run_comes_through_and_ends_with_the_bits_of_an_undisturbed_one(
  results, name
):
  result = results[name].result()
  print(result)
  assert result.problems == [], result
  assert result.equal


def test_a_hundred_faults_disturb_one_two_and_four_processes():
  table = cases.faults()
  assert len(table) == 100
  assert {fault.processes for fault in table} == {1, 2, 4}


@pytest.mark.parametrize("what", ["kill*", "SIG* to *"])
def test_a_job_is_killed_and_stopped_in_every_phase(what):
  reached = {
    fault.phase
    for fault in cases.faults()
    if fnmatch.fnmatchcase(fault.name, f"?/{what}/*")
  }
  assert reached >= {*cases.FRESH, *cases.RESUMED}


def test_steps_that_are_computed_again_are_lost_once_for_each_time():
  attempt = [
    "[launch] started; process ids 7",
    "[0] step: compiled in 2 s",
    "[0] I] step 1/9 | loss",
    "[0] I] step 2/9 | loss",
  ]
  once = (attempt, [0.0, 10.0, 11.0, 13.0])
  assert log.lost_seconds([once], {}) == 0
  assert log.lost_seconds([once, once], {}) == 1 + 2
  assert log.lost_seconds([once, once, once], {}) == 2 * (1 + 2)
  assert log.lost_seconds([once], {1: 5.0}) == 5


def test_a_step_before_the_job_starts_again_is_not_going_on():
  lines = ["[launch] started; process ids 7", "[0] I] step 3/9 | loss"]
  assert log.on_after(lines, [0.0, 5.0], since=2.0) == 5
  again = [*lines, "[launch] started; process ids 8", "[0] I] step 3/9 | loss"]
  assert log.on_after(again, [0.0, 5.0, 6.0, 9.0], since=2.0) == 9
  assert log.on_after(again[:3], [0.0, 5.0, 6.0], since=2.0) is None


OLDER = """
import os, pathlib, sys, time
import older_content

folder, seen = pathlib.Path(sys.argv[1]), []
older_content.begin(
  {"hidden": [str(folder / "16")], "seconds": 0.5}, lambda: seen.append(1)
)
assert sorted(os.listdir(folder)) == ["8"] and seen == [1]
assert [p.name for p in folder.iterdir()] == ["8"]
assert [e.name for e in os.scandir(folder)] == ["8"]
assert not (folder / "16").exists() and not (folder / "16/meta").exists()
assert (folder / "8/meta").read_text() == "8"
time.sleep(0.6)
assert (folder / "16/meta").read_text() == "16" and seen == [1]
assert sorted(os.listdir(folder)) == ["16", "8"]
"""


def test_older_content_hides_what_is_new_for_a_while(tmp_path):
  for step in ("8", "16"):
    (tmp_path / step).mkdir()
    (tmp_path / step / "meta").write_text(step)
  inside = pathlib.Path(trial.__file__).parent / "inside"
  subprocess.run(
    [sys.executable, "-c", OLDER, str(tmp_path)],
    env={**os.environ, "PYTHONPATH": str(inside)},
    check=True,
  )
