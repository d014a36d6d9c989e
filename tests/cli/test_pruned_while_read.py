"""A model is read beside a training that prunes its checkpoints."""

import shutil

import pytest

from soundstream_jax import errors
from soundstream_jax.checkpoint import folder, weights


@pytest.fixture
def run(workdir, tmp_path):
  """A run of its own, with the checkpoint 20 alone."""
  shutil.copytree(workdir, tmp_path / "run")
  shutil.copytree(workdir / "checkpoints/20", tmp_path / "kept")
  shutil.rmtree(tmp_path / "run/checkpoints/10")
  return tmp_path / "run"


@pytest.fixture
def prune(run, monkeypatch):
  """Has training save and prune, `times` times, as a function is called."""

  def arrange(name, times):
    original, left = getattr(weights, name), iter(range(times))

    def late(workdir, step, *rest):
      if next(left, None) is not None:
        new = folder.of_step(run, step + 1)
        shutil.copytree(run.parent / "kept", new)
        shutil.rmtree(folder.of_step(run, step))
      return original(workdir, step, *rest)

    monkeypatch.setattr(weights, name, late)

  return arrange


@pytest.mark.parametrize("name", ["_restore", "check_undamaged", "_read"])
def test_the_newest_is_read_whatever_is_pruned_meanwhile(name, run, prune):
  prune(name, 2)
  assert weights.restore(run).step == 22


@pytest.mark.parametrize("name", ["check_undamaged", "_read"])
def test_a_step_that_goes_while_it_is_read_is_one_line(name, run, prune):
  prune(name, 1)
  with pytest.raises(errors.InputError, match=r"step 20 .* was pruned") as told:
    weights.restore(run, step=20)
  assert "\n" not in str(told.value)


def test_a_run_that_prunes_faster_than_it_is_read_is_one_line(run, prune):
  prune("_restore", 1_000)
  with pytest.raises(errors.InputError, match="was pruned while") as told:
    weights.restore(run)
  assert "\n" not in str(told.value)


def test_damage_is_no_pruning(run):
  (run / "checkpoints/20/sums.sha256").write_text(
    f"{'0' * 64}  meta/metadata\n"
  )
  with pytest.raises(errors.InputError, match="is damaged: meta/metadata has"):
    weights.restore(run)
