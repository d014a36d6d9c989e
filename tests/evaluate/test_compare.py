"""Laws of `evaluate.compare`: where two runs part, and that a copy does not."""

import json
import pathlib
import re
import shutil
import subprocess
import sys
import tarfile

import jax
import numpy as np
import orbax.checkpoint as ocp
import pytest

from soundstream_jax import errors
from soundstream_jax.checkpoint import integrity
from soundstream_jax.evaluate import compare, runs
from soundstream_jax.train.monitoring import versions

FROZEN = pathlib.Path(__file__).parents[1] / "frozen/v0_1"
MODEL = str(FROZEN / "model")  # exported of the frozen run's step 2
STEP = 2


@pytest.fixture
def pair(tmp_path):
  """The frozen run, and a copy of it to change."""
  with tarfile.open(FROZEN / "run.tar.gz") as archive:
    archive.extractall(tmp_path, filter="data")
  one, other = tmp_path / "run", tmp_path / "other"
  shutil.copytree(one, other)
  return one, other


@pytest.fixture
def logs(pair):
  """As `pair`, without checkpoints: reading them takes time."""
  for run in pair:
    shutil.rmtree(run / "checkpoints")
  return pair


def compared(one, other):
  found = compare.compare(runs.read(str(one)), runs.read(str(other)))
  assert json.loads(json.dumps(found)) == found
  return found


def edit(run, **fields):
  """Changes fields of a run's configuration, by dotted name."""
  path = run / "config.json"
  config = json.loads(path.read_text())
  for name, value in fields.items():
    group, _, last = name.rpartition("__")
    (config[group] if group else config)[last] = value
  path.write_text(json.dumps(config))


def add(run, item, name, amount):
  """Adds to one element of a saved array, without the sums of files."""
  folder = run / "checkpoints" / str(STEP)
  (folder / integrity.SUMS).unlink(missing_ok=True)
  reader = ocp.PyTreeCheckpointer()
  kinds = jax.tree.map(
    lambda _: ocp.RestoreArgs(restore_type=np.ndarray),
    reader.metadata(folder / item).item_metadata.tree,
  )
  tree = reader.restore(folder / item, restore_args=kinds)

  def changed(path, leaf):
    leaf = np.array(leaf)
    if jax.tree_util.keystr(path, simple=True, separator="/") == name:
      leaf.reshape(-1)[0] += amount
    return leaf

  tree = jax.tree_util.tree_map_with_path(changed, tree)
  shutil.rmtree(folder / item)
  reader.save(folder / item, tree)


def log(run, *lines):
  with open(run / "metrics.jsonl", "a") as file:
    file.writelines(json.dumps(line) + "\n" for line in lines)


def test_a_copy_of_a_run_is_equal(pair):
  found = compared(*pair)
  assert found["equal"]
  assert found["config"] == found["data"] == found["versions"] == []
  assert found["metrics"]["first"] is None
  assert found["metrics"]["common_steps"] == [1, 2]
  assert found["tensors"] == {"equal_steps": [STEP], "first": None}
  assert compare.to_text(found).splitlines()[-1] == "equal"


def test_every_field_that_differs_is_named_and_only_some_of_them_count(logs):
  edit(logs[1], num_steps=77, logging__every_steps=9)
  found = compared(*logs)
  assert [entry["name"] for entry in found["config"]] == [
    "logging.every_steps",
    "num_steps",
  ]
  assert found["equal"] and "(changes nothing learnt)" in compare.to_text(found)
  edit(logs[1], seed=5)
  found = compared(*logs)
  (entry,) = [entry for entry in found["config"] if entry["counts"]]
  assert entry["name"] == "seed" and entry["values"][1] == 5
  assert not found["equal"]
  assert f"seed: {entry['values'][0]} | 5\n" in compare.to_text(found)
  # Which run is named first changes nothing but the order.
  back = compared(*logs[::-1])
  assert not back["equal"]
  for one, other in zip(found["config"], back["config"], strict=True):
    assert one == other | {"values": other["values"][::-1]}


def test_a_run_of_another_version_is_compared_by_the_fields_that_it_has(logs):
  edit(logs[1], gone=1)
  (entry,) = [e for e in compared(*logs)["config"] if e["name"] == "gone"]
  assert entry["values"] == [None, 1] and entry["counts"]


def test_a_dataset_is_what_is_in_it_and_not_where_it_lies(
  logs, voices, noises, tmp_path
):
  shutil.copytree(voices, tmp_path / "moved")
  for run, place in zip(logs, (voices, tmp_path / "moved"), strict=True):
    edit(run, data__sources=str(place))
  found = compared(*logs)
  assert found["equal"] and found["data"] == []
  assert [entry["name"] for entry in found["config"]] == ["data.sources"]
  edit(logs[1], data__sources=noises)
  found = compared(*logs)
  names = [entry["name"] for entry in found["data"]]
  assert not found["equal"] and "data.sources 0 digest" in names
  assert "data.sources 0 kind" in names
  edit(logs[1], data__sources=f"{voices}:1,{noises}:2")
  names = [entry["name"] for entry in compared(*logs)["data"]]
  assert "data.sources 1 weight" in names
  edit(logs[1], data__sources=str(tmp_path / "gone"))
  assert {
    "name": "data.sources 0 folder",
    "values": [None, "not here"],
  } in compared(*logs)["data"]


def test_metrics_part_at_the_first_logged_value_that_differs(logs):
  one, other = logs
  log(one, {"step": 3, "time": 1.0, "a": 1.0, "b": 2.0, "speed/x": 1.0})
  log(other, {"step": 3, "time": 2.0, "a": 1.0, "b": 2.0, "speed/x": 9.0})
  assert compared(*logs)["equal"]
  log(one, {"step": 4, "a": 1.0, "b": 2.0}, {"step": 5, "a": 0.0, "b": None})
  log(other, {"step": 4, "a": 1.5, "b": 2.0}, {"step": 5, "a": 2.0, "b": 3.0})
  found = compared(*logs)
  assert not found["equal"]
  assert found["metrics"]["first"] == {
    "step": 4, "metric": "a", "values": [1.0, 1.5], "others": []
  }  # fmt: skip
  first, second = found["metrics"]["differing"]
  assert first == {
    "name": "a", "first_step": 4, "largest": 2.0, "last_step": 5,
    "values": [0.0, 2.0],
  }  # fmt: skip
  assert second["name"] == "b" and second["values"] == [None, 3.0]
  assert "the first that differs is 4: a 1.0 | 1.5" in compare.to_text(found)
  # A resumed run logs a step again: the later line counts.
  log(other, {"step": 4, "a": 1.0}, {"step": 5, "a": 0.0, "b": None})
  assert compared(*logs)["equal"]


def test_steps_that_one_run_alone_has_are_no_difference(logs):
  log(logs[1], {"step": 3, "a": 1.0})
  found = compared(*logs)
  assert found["equal"] and found["metrics"]["common_steps"] == [1, 2]


@pytest.mark.parametrize("amount", [1e-3, np.inf])
def test_the_first_tensor_that_differs_is_named_with_its_distance(amount, pair):
  add(pair[1], "codebooks", "vectors", amount)
  found = compared(*pair)
  first = found["tensors"]["first"]
  assert not found["equal"] and found["tensors"]["equal_steps"] == []
  assert first["step"] == STEP and first["tensor"] == "codebooks/vectors"
  assert first["differing"] == 1 < first["tensors"]
  if np.isfinite(amount):
    np.testing.assert_allclose(first["max_abs_difference"], amount, rtol=1e-3)
    assert first["largest"]["tensor"] == "codebooks/vectors"
  else:
    assert first["problem"] == "values that are not finite"
  assert f"step {STEP}: codebooks/vectors differs" in compare.to_text(found)


def test_arrays_differ_by_any_bit_by_shape_and_by_kind():
  one = np.zeros(3, np.float32)
  assert compare._array_difference(one, one.copy()) is None
  nan = np.full(3, np.nan, np.float32)
  assert compare._array_difference(nan, nan.copy()) is None
  assert compare._array_difference(one, -one)["max_abs_difference"] == 0
  for other in (one[:2], one.astype(np.float64)):
    problem = compare._array_difference(one, other)["problem"]
    assert "float32 (3,) and " in problem
  assert compare._array_difference(None, one)["problem"] == (
    "the first run has none"
  )


def test_an_exported_model_equals_its_run_and_itself(pair):
  for one, other in ((MODEL, MODEL), (pair[0], MODEL)):
    found = compared(one, other)
    assert found["equal"]
    assert found["tensors"] == {"equal_steps": [STEP], "first": None}
  run = runs.read(str(pair[1]))
  names = next(run.arrays(STEP, like=runs.read(MODEL)))[1]
  name = sorted(names)[0]
  add(pair[1], "ema_params", name, 0.5)
  first = compared(MODEL, pair[1])["tensors"]["first"]
  assert first["tensor"] == f"ema_params/{name}" and first["differing"] == 1
  np.testing.assert_allclose(first["max_abs_difference"], 0.5, rtol=1e-5)


def test_runs_that_share_nothing_are_not_equal(pair):
  shutil.rmtree(pair[1] / "checkpoints")
  (pair[1] / "metrics.jsonl").unlink()
  found = compared(*pair)
  assert not found["equal"]
  assert "they share neither" in compare.to_text(found).splitlines()[-1]


def test_a_damaged_checkpoint_is_no_difference_but_an_error(pair):
  folder = pair[1] / f"checkpoints/{STEP}/params/d"
  damaged = next(folder.iterdir())
  damaged.write_bytes(damaged.read_bytes()[:-1] + b"x")
  with pytest.raises(errors.InputError, match="is damaged"):
    compared(*pair)


def test_versions_are_shown_and_count_for_nothing(logs):
  assert "not recorded by 1 and 2" in compare.to_text(compared(*logs))
  for run in logs:
    versions.note(run, step=0)
  found = compared(*logs)
  assert found["versions"] == [] and found["recorded"] == [True, True]
  lines = (logs[1] / versions.LINES).read_text()
  (logs[1] / versions.LINES).write_text(lines.replace('"jax": "', '"jax": "9'))
  found = compared(*logs)
  (entry,) = found["versions"]
  assert entry["name"] == "packages.jax" and found["equal"]
  assert f"packages.jax: {jax.__version__} | 9" in compare.to_text(found)


def test_a_start_notes_which_code_ran_on_what(tmp_path):
  versions.note(tmp_path, step=3)
  versions.note(tmp_path, step=7)
  first, second = map(
    json.loads, (tmp_path / versions.LINES).read_text().splitlines()
  )
  assert (first.pop("step"), second.pop("step")) == (3, 7)
  assert first.pop("time") <= second.pop("time")
  assert first == second == json.loads(json.dumps(versions.here()))
  assert first["hardware"] == "8 x cpu" and first["processes"] == 1
  assert first["packages"]["jax"] == jax.__version__
  revision = first["git_revision"]  # None outside a checkout
  assert revision is None or re.fullmatch("[0-9a-f]{40}", revision)


def test_a_start_that_can_note_nothing_goes_on(tmp_path, monkeypatch):
  said = []
  monkeypatch.setattr(
    versions.logging, "warning", lambda text, *words: said.append(text % words)
  )
  versions.note(tmp_path / "none", step=0)
  assert said == [
    "versions.jsonl could not be written (No such file or directory): the run "
    "goes on without it."
  ]


@pytest.mark.parametrize("head", ["loose", "packed", "detached", "none"])
@pytest.mark.parametrize("worktree", [False, True])
def test_a_revision_is_read_where_git_keeps_it(head, worktree, tmp_path):
  commit, git = "12" * 20, tmp_path / "a/.git"
  own = git / "worktrees/w" if worktree else git
  own.mkdir(parents=True)
  root = tmp_path / "w" if worktree else tmp_path / "a"
  (root / "soundstream_jax").mkdir(parents=True)
  if worktree:
    (root / ".git").write_text(f"gitdir: {own}\n")
    (own / "commondir").write_text("../..\n")
  detached = head == "detached"
  (own / "HEAD").write_text(f"{commit if detached else 'ref: refs/heads/b'}\n")
  if head == "loose":
    (git / "refs/heads").mkdir(parents=True)
    (git / "refs/heads/b").write_text(f"{commit}\n")
  if head == "packed":
    (git / "packed-refs").write_text(f"# pack-refs\n{commit} refs/heads/b\n")
  found = versions.git_revision(root / "soundstream_jax/x.py")
  assert found == (None if head == "none" else commit)
  assert versions.git_revision(tmp_path / "x.py") is None


@pytest.mark.slow
def test_the_command_says_it_by_its_exit_code(pair, tmp_path):
  def command(*words):
    done = subprocess.run(
      [sys.executable, "-m", "soundstream_jax.evaluate.compare", *words],
      capture_output=True,
      text=True,
    )
    return done.returncode, done.stdout, done.stderr

  out = tmp_path / "found.json"
  code, said, told = command(*map(str, pair), f"--out={out}")
  assert (code, told) == (0, "") and said.endswith("\nequal\n")
  assert json.loads(out.read_text())["equal"]
  edit(pair[1], seed=5)
  code, said, told = command(*map(str, pair))
  assert (code, told) == (1, "") and said.endswith("\ndifferent\n")
  code, said, told = command(str(pair[0]))
  assert (code, said) == (2, "") and "two runs, not 1" in told
  code, said, told = command(str(pair[0]), str(tmp_path / "no"))
  assert (code, said) == (2, "") and told.startswith(f"error: {tmp_path}/no: ")
