"""Laws of a sweep on this machine, with commands that stand in for training."""

import csv
import json
import os
import pathlib
import signal
import subprocess
import sys
import textwrap
import time

import pytest

from soundstream_jax import errors
from soundstream_jax.checkpoint import holder
from soundstream_jax.launch.sweep import (
  events,
  folder,
  local,
  plan,
  points,
  results,
  session,
  states,
  table,
  work,
)
from soundstream_jax.launch.sweep.cost import counting, speed
from soundstream_jax.settings import presets, sweeps

# It trains for num_steps steps, one each 0.02 s; saves when asked to stop; and
# fails, or ends as a killed process, where a file of its workdir says so.
COMMAND = textwrap.dedent("""\
  import json, os, pathlib, signal, sys, time
  stage, *words = sys.argv[1:]
  flags = dict(word.lstrip("-").partition("=")[::2] for word in words)
  workdir = pathlib.Path(flags["workdir"])
  saved = workdir / "saved"
  asked = []
  signal.signal(signal.SIGTERM, lambda *_: asked.append(1))
  if stage == "evaluate":
    out = pathlib.Path(flags["out"])
    out.mkdir(parents=True, exist_ok=True)
    measured = {"all": {"mean": int(saved.read_text()), "low": 1, "high": 2,
                        "count": 3, "missing": 0}}
    (out / "evaluation.json").write_text(json.dumps({"systems": [
      {"key": "model@6000", "bitrate_bps": 6000.0, "payload_bps": 6010.5,
       "metrics": {"log_mel": measured}}]}))
    print("a table\\nnobody reads")
    sys.exit()
  if (workdir / "fails").exists():
    print("error: data.sources: /x does not exist. Use another.")
    sys.exit(2)
  if (workdir / "crashes").exists():
    os.kill(os.getpid(), signal.SIGKILL)
  step = int(saved.read_text()) if saved.exists() else 0
  count = int(flags["config.num_steps"])
  while step < count and not asked:
    time.sleep(0.02)
    step += 1
    with open(workdir / "metrics.jsonl", "a") as file:
      line = {"step": step, "speed/steps_per_second": 50.0}
      file.write(json.dumps(line | {"eval/log_mel": 1 / step}) + "\\n")
    print(f"I1128 16:42:38.3 140 writer.py:1] step {step}/{count} | x")
  saved.write_text(str(step))
  sys.exit(0 if step == count else 75)
""")
SWEEP = """\
def sweep(preset):
  for seed in (1, 2, 3):
    yield f"seed{seed}", {"seed": seed}
"""


@pytest.fixture
def sweep(tmp_path, monkeypatch):
  """Returns a function (text, ...) -> Session of a sweep of fake commands."""
  command = tmp_path / "command.py"
  command.write_text(COMMAND)
  real = work.start

  def start(words, **options):
    stage = words[words.index("-m") + 1].rpartition(".")[2]
    flags = words[words.index("-m") + 2 :]
    return real([sys.executable, "-S", str(command), stage, *flags], **options)

  monkeypatch.setattr(work, "start", start)
  monkeypatch.setattr(
    counting, "count", lambda _: counting.Work(9, {False: 1e9}, {False: 5})
  )
  monkeypatch.setattr(speed, "of_this_device", lambda: speed.Speed(1e9, 1.0))
  monkeypatch.setattr(speed, "keep", lambda _: None)
  monkeypatch.setattr(session.jax.config, "update", lambda *_: None)

  def make(text=SWEEP, *, steps=5, evaluation="", out=tmp_path / "out"):
    (tmp_path / "seeds.py").write_text(text)
    words = ["--config.data.sources=/data", f"--config.num_steps={steps}"]
    return session.open_(
      str(tmp_path / "seeds.py"), "tiny", out, words, evaluation=evaluation
    )

  return make


def run(opened, *, retry=False, at_once=2, only=""):
  pattern = local.re.compile(only)
  return opened.launch(
    "local", only=pattern, retry=retry, at_once=at_once, others=""
  )


def steps(workdir):
  rows = (workdir / "metrics.jsonl").read_text().splitlines()
  return [json.loads(row)["step"] for row in rows]


def names(opened):
  return [state.name for state in opened.plan.look()]


def test_all_points_are_trained_once_evaluated_and_tabled(sweep, capsys):
  opened = sweep()
  opened.show_plan("local")
  assert run(opened) == 0
  assert names(opened) == ["done"] * 3
  out = opened.plan.out
  for each in opened.plan.points:
    assert steps(each.workdir) == [1, 2, 3, 4, 5]
    log = (each.workdir / "log.txt").read_text()
    assert log.count("step 5/5") == 1 and "a table" in log
  saved = folder.read(out)
  assert [row["name"] for row in saved["points"]] == ["seed1", "seed2", "seed3"]
  assert saved["points"][0]["overrides"] == {"seed": 1}
  assert saved["points"][0]["bitrate_bps"] == 6000
  rows = list(csv.DictReader((out / "results.csv").read_text().splitlines()))
  assert tuple(rows[0]) == results.COLUMNS
  assert [row["point"] for row in rows] == ["seed1", "seed2", "seed3"]
  assert rows[0]["value"] == "5" and rows[0]["payload_bps"] == "6010.5"
  assert rows[0]["hash"] == saved["points"][0]["hash"]
  assert json.loads(rows[0]["overrides"]) == {"seed": 1}
  assert rows[0]["git_revision"] and rows[0]["hardware"]
  assert float(rows[0]["seconds"]) > 0
  assert json.loads((out / "results.json").read_text())[0]["value"] == 5
  said = capsys.readouterr().out
  assert "3 points" in said and "[seed1] is trained" in said
  assert "a table" not in said
  # A second call has nothing to do.
  assert run(sweep()) == 0
  assert "is trained" not in capsys.readouterr().out


def test_an_edited_sweep_runs_what_is_new_and_keeps_the_rest(sweep, capsys):
  assert run(sweep()) == 0
  edited = SWEEP.replace("(1, 2, 3)", "(3, 2, 4)").replace("seed{", "nr{")
  opened = sweep(edited)
  opened.show_plan("local")
  assert run(opened) == 0
  said = capsys.readouterr().out
  assert "no longer in the sweep, and kept: " in said
  assert "[nr4] is trained" in said
  assert "[nr2] is trained" not in said and "[nr3] is trained" not in said
  rows = json.loads((opened.plan.out / "results.json").read_text())
  assert [row["point"] for row in rows] == ["nr3", "nr2", "nr4"]
  # What decides a result makes other points; what does not, none.
  assert names(sweep(edited, steps=6)) == ["waiting"] * 3


def test_another_evaluation_is_made_without_training_again(sweep, capsys):
  assert run(sweep()) == 0
  capsys.readouterr()
  opened = sweep(evaluation="--bitrates=all")
  assert names(opened) == ["waiting"] * 3
  assert run(opened) == 0
  said = capsys.readouterr().out
  assert "is evaluated" in said and "is trained" not in said
  with pytest.raises(errors.InputError, match="Leave --out=x out"):
    sweep(evaluation="--out=x")


@pytest.mark.parametrize(
  ("how", "says"),
  [
    ("fails", "exit code 2: error: data.sources: /x does not"),
    ("crashes", "killed by signal 9"),
  ],
)
def test_a_failed_point_stops_no_other_and_is_run_again_when_asked(
  sweep, capsys, how, says
):
  opened = sweep()
  workdir = opened.plan.points[1].workdir
  workdir.mkdir(parents=True)
  (workdir / how).touch()
  assert run(opened) == local.EXIT_FAILED
  assert names(opened) == ["done", "failed", "done"]
  assert says in capsys.readouterr().out
  (workdir / how).unlink()
  assert run(sweep()) == local.EXIT_FAILED
  assert names(opened) == ["done", "failed", "done"]
  assert "failed before: seed2" in capsys.readouterr().out
  assert run(sweep(), retry=True) == 0
  assert names(opened) == ["done"] * 3


def test_only_some_points_run_if_so_asked(sweep):
  opened = sweep()
  assert run(opened, only="[12]$") == 0
  assert names(opened) == ["done", "done", "waiting"]
  with pytest.raises(errors.InputError, match="seed1, seed2, seed3"):
    run(opened, only="none")


@pytest.mark.parametrize("most", [1, 2])
def test_no_more_points_run_together_than_are_allowed(sweep, monkeypatch, most):
  seen = []
  opened = sweep(steps=30)
  poll = work.Work.poll

  def look(self):
    seen.append(names(opened).count("running"))
    return poll(self)

  monkeypatch.setattr(work.Work, "poll", look)
  assert run(opened, at_once=most) == 0
  assert max(seen) == most


def test_a_stop_lets_points_save_and_the_same_command_goes_on(sweep, capsys):
  opened = sweep(steps=40)
  workdir = opened.plan.points[0].workdir

  class Stops(work.Work):
    def poll(self):
      if (workdir / "metrics.jsonl").exists() and not self._asked:
        os.kill(os.getpid(), signal.SIGTERM)
      return super().poll()

  local.work_lib.Work, real = Stops, work.Work
  try:
    assert run(opened, at_once=1) == errors.EXIT_PREEMPTED
  finally:
    local.work_lib.Work = real
  assert names(opened) == ["stopped", "waiting", "waiting"]
  done = len(steps(workdir))
  assert 0 < done < 40
  assert "SIGTERM: all points save and stop" in capsys.readouterr().out
  assert run(sweep(steps=40), at_once=3) == 0
  assert steps(workdir) == list(range(1, 41))


def test_a_point_that_runs_elsewhere_is_waited_for(sweep, capsys):
  opened = sweep()
  workdir = opened.plan.points[0].workdir
  workdir.mkdir(parents=True)
  other = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(3)"])
  try:
    record = holder.identity(other.pid) | {"time": time.time()}
    (workdir / holder.NAME).write_text(json.dumps(record))
    assert names(opened)[0] == "running"
    began = time.monotonic()
    assert run(opened, at_once=3) == 0
    assert other.poll() is not None or time.monotonic() - began > 2
  finally:
    other.kill()
    other.wait()
  assert "[seed1] is at work already (by process" in capsys.readouterr().out


def test_children_end_with_the_process_that_started_them(tmp_path):
  code = (
    "import os, pathlib, sys, time\n"
    "from soundstream_jax.launch.sweep import work\n"
    "child = work.start([sys.executable, '-c', 'import time;time.sleep(60)'],"
    " log=None, environment=os.environ)\n"
    "print(child.pid, flush=True)\n"
    "time.sleep(60)\n"
  )
  parent = subprocess.Popen(
    [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True
  )
  child = int(parent.stdout.readline())
  record = holder.identity(child)
  assert holder.is_alive(record)
  parent.kill()
  parent.wait()
  parent.stdout.close()
  deadline = time.monotonic() + 20
  while holder.is_alive(record):
    assert time.monotonic() < deadline
    time.sleep(0.05)


def look(workdir, **more):
  values = {"num_steps": 10, "evaluation": ["-x"], "out": workdir} | more
  return states.look(workdir, **values)


GONE = holder.identity() | {"process": 2**22 + 1, "started": 1}


def test_states_follow_from_what_is_on_disk(tmp_path):
  workdir = tmp_path / "point"
  assert look(workdir).name == "waiting"
  events.append(workdir, "submitted", job="12_3", log="log.txt")
  assert look(workdir).name == "waiting"
  assert look(workdir).note == "job 12_3"
  events.append(workdir, "train", process=holder.identity(), hardware="h")
  assert look(workdir).name == "running"
  events.append(workdir, "stopping")
  assert look(workdir).name == "saving"
  events.append(workdir, "train ended", code=75)
  assert look(workdir).name == "stopped"
  events.append(workdir, "requeued")
  assert look(workdir).name == "waiting"
  events.append(workdir, "train", process=GONE)
  assert look(workdir).name == "stopped"
  assert look(workdir).note == "it was killed"
  events.append(workdir, "train", process=holder.identity())
  (workdir / "log.txt").write_text("x\nValueError: y\nz\n")
  events.append(workdir, "train ended", code=1)
  found = look(workdir)
  assert (found.name, found.note) == (
    "failed",
    "train, exit code 1: ValueError: y",
  )
  events.append(workdir, "train", process=holder.identity())
  events.append(workdir, "train ended", code=0)
  assert (look(workdir).name, look(workdir).trained) == ("waiting", True)
  events.append(workdir, "evaluate", process=holder.identity(), words=["-x"])
  assert look(workdir).name == "evaluating"
  events.append(workdir, "evaluate ended", code=0)
  assert look(workdir).name == "waiting"  # there is no evaluation.json
  (workdir / "evaluation").mkdir()
  (workdir / "evaluation/evaluation.json").write_text("{}")
  assert look(workdir).name == "done"
  assert look(workdir, evaluation=["-y"]).name == "waiting"
  assert look(workdir).hardware == "h"


def test_a_process_elsewhere_lives_while_its_files_are_young(tmp_path):
  away = holder.identity() | {"host": "elsewhere"}
  events.append(tmp_path, "evaluate", process=away, words=["-x"])
  assert look(tmp_path).name == "evaluating"
  lines = (tmp_path / events.NAME).read_text()
  old = json.loads(lines) | {"time": time.time() - 1000}
  (tmp_path / events.NAME).write_text(json.dumps(old) + "\n")
  os.utime(tmp_path / events.NAME, (old["time"], old["time"]))
  assert look(tmp_path).name == "stopped"


def test_a_half_written_event_is_none_and_the_next_one_is_whole(tmp_path):
  events.append(tmp_path, "train")
  with open(tmp_path / events.NAME, "a") as file:
    file.write('{"time": 1, "ev')
  assert [e["event"] for e in events.read(tmp_path)] == ["train"]
  events.append(tmp_path, "train ended", code=0)
  kinds = [e["event"] for e in events.read(tmp_path)]
  assert kinds == ["train", "train ended"]


def test_seconds_are_those_at_work_also_of_what_was_killed(tmp_path):
  lines = [
    {"time": 100.0, "event": "train", "process": GONE},
    {"time": 130.0, "event": "stopping"},
    {"time": 200.0, "event": "train", "process": GONE},
    {"time": 250.0, "event": "train ended", "code": 0},
  ]
  (tmp_path / events.NAME).write_text("\n".join(map(json.dumps, lines)) + "\n")
  assert look(tmp_path).seconds == 80


def test_status_shows_a_sweep_from_its_folder_alone(sweep, capsys):
  opened = sweep()
  assert run(opened, only="1") == 0
  capsys.readouterr()
  assert session.show_status(opened.plan.out) == 0
  lines = capsys.readouterr().out.splitlines()
  assert lines[1].split()[:4] == ["seed1", "done", "6000", "5/5"]
  assert lines[2].split()[:4] == ["seed2", "waiting", "6000", "0/5"]
  assert "0.200" in lines[1]
  with pytest.raises(errors.InputError, match="holds no sweep"):
    session.show_status(opened.plan.out / "points")


def test_names_of_a_table_stay_in_their_columns():
  state = states.State("running", step=3, seconds_left=61.0, note="a\x1b\nb")
  row = {"name": "x", "bitrate_bps": 2000 / 3, "num_steps": 9}
  text = table.states([row], [state])
  assert "666.67" in text and "0:01:01" in text
  assert "\x1b" not in text and len(text.splitlines()) == 2


def test_a_user_reads_a_shipped_sweep_before_anything_runs(sweep, capsys):
  given = presets.Given(None, [("data.sources", "/data")])
  found = points.resolve(sweeps.load("codebook_size"), "tiny", given)
  assert {float(p.config.rates.bitrate_bps()) for p in found} == {6000.0}
  planned = tuple(plan.Planned(p, pathlib.Path("/x/y"), ()) for p in found)
  counted = {p.hash: counting.Work(9, {False: 1e9}, {False: 5}) for p in found}
  made = plan.Plan(
    sweeps.load("codebook_size"),
    "tiny",
    pathlib.Path("/x"),
    planned,
    (),
    counted,
  )
  text = table.plan(made.rows(speed.Speed(1e9, 30.0)))
  assert "16 x 32" in text and text.count(" 6000 ") == 3
  assert text.count("0:00:35") == 3
