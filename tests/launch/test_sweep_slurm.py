"""A sweep on a real SLURM of two nodes: preempted, requeued, evaluated."""

import json
import re
import sys

import pytest

from soundstream_jax.launch.sweep import events

pytestmark = [pytest.mark.slurm, pytest.mark.timeout(600)]

STEPS = 100
SWEEP = """\
def sweep(preset):
  for size in (8, 16):
    yield f"codes{size}", {"quantizer.codebook_size": size}
"""


@pytest.fixture(scope="module")
def sweep(slurm, voices, sweep_preset, tmp_path_factory):
  """Returns a function (*flags) -> finished command, and the folder."""
  folder = tmp_path_factory.mktemp("sweep")
  (folder / "codes.py").write_text(SWEEP)
  slurm.environment["XDG_CACHE_HOME"] = str(folder / "caches")

  def run(*flags):
    return slurm.run(
      *(sys.executable, "-m", "soundstream_jax.launch.sweep"),
      *(f"--sweep={folder}/codes.py", f"--preset={sweep_preset}"),
      *(f"--out={folder}/out", "--launcher=slurm", "--nodes=1"),
      *("--cpus_per_task=1", "--time=20", *flags),
      *("--evaluate=--metrics=log_mel --sounds=0 --workers=0", "--"),
      *(f"--config.data.sources={voices}", f"--config.num_steps={STEPS}"),
      "--config.checkpoint.every_steps=50",
    )

  return run, folder / "out"


def test_a_preempted_point_goes_on_and_all_are_evaluated(slurm, sweep):
  run, out = sweep
  said = run().stdout
  job = re.search(r"Submitted batch job (\d+)", said)[1]
  workdirs = {p.name.split("-")[0]: p for p in (out / "points").iterdir()}
  assert set(workdirs) == {"codes8", "codes16"}
  # What is queued is not queued again.
  assert "Submitted" not in run().stdout
  log = out / f"slurm/soundstream-{job}_0.log"
  slurm.wait(
    lambda: log.exists() and re.search(r"step \d+/100", log.read_text()),
    what=f"steps of {log}",
  )
  slurm.run("scancel", "--signal=TERM", f"{job}_0")

  def states():
    told = run("--status").stdout.splitlines()
    return {words[0]: words[1] for words in map(str.split, told[-2:])}

  seen = []

  def done():
    seen.append(states())
    return set(seen[-1].values()) == {"done"}

  slurm.wait(done, what=f"{seen[-3:]}")
  assert "requeue" in log.read_text()
  (stopped,) = map(int, re.findall(r"stop: saving step (\d+)", log.read_text()))
  told = [e["event"] for e in events.read(workdirs["codes8"])]
  assert told.count("requeued") == 1
  assert told.count("train") == 2
  for workdir in workdirs.values():
    rows = (workdir / "metrics.jsonl").read_text().splitlines()
    steps = [json.loads(r)["step"] for r in rows if "loss/recon" in r]
    assert steps == list(range(1, STEPS + 1))
    assert (workdir / "evaluation/evaluation.json").is_file()
  assert 1 <= stopped < STEPS
  assert "running" in {s["codes16"] for s in seen}
