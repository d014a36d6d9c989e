"""Laws of folders that hold no checkpoint: the line says what they are."""

import pytest

from soundstream_jax import errors
from soundstream_jax.checkpoint import best, weights
from soundstream_jax.cli import __main__ as command


@pytest.fixture
def place(tmp_path):
  """A folder of runs, one of which has saved, and of what is none."""
  for name in ("speech", "music/first"):
    step = tmp_path / "runs" / name / "checkpoints/20/meta"
    step.mkdir(parents=True)
    (tmp_path / "runs" / name / "config.json").write_text("{}")
  (tmp_path / "young").mkdir()
  (tmp_path / "young/config.json").write_text("{}")
  for name in ("dataset_info", "evaluation", "model"):
    (tmp_path / name).mkdir()
    (tmp_path / name / f"{name}.json").write_text("{}")
  (tmp_path / "empty").mkdir()
  (tmp_path / "other").mkdir()
  (tmp_path / "other/file").write_text("")
  return tmp_path


CASES = [
  ("spech", "there is no such folder. Give the workdir"),
  ("runs/spech", "there is no such folder. Did you mean 'speech'? Give the"),
  (
    "nowhere/run",
    "there is no such folder. There is no {place}/nowhere either. Give the workdir",
  ),
  ("other/file", "it is a file. Give the workdir"),
  ("empty", "it is empty. Give the workdir"),
  ("other", "no run is in it. Give the workdir"),
  (
    "runs",
    "runs are in it: {place}/runs/music/first, {place}/runs/speech. Nam",
  ),
  ("runs/speech/checkpoints", "it is a part of the run {place}/runs/speech. "),
  ("runs/speech/checkpoints/20", "it is a part of the run {place}/runs/speech"),
  ("young", "its run has saved none yet. Wait until a step of checkpoint.ever"),
  ("dataset_info", "it is a prepared dataset, not a run. Give the workdir"),
  ("evaluation", "it is an evaluation, not the run that it measured. Give"),
]


@pytest.mark.parametrize(("name", "said"), CASES)
def test_a_folder_without_a_checkpoint_says_what_it_is(name, said, place):
  expected = f"{place / name} holds no checkpoint: {said.format(place=place)}"
  for read in (
    lambda: weights.restore(place / name),
    lambda: best.chosen(place / name, 20),
    lambda: best.chosen(place / name, "best"),
  ):
    with pytest.raises(errors.InputError) as refused:
      read()
    assert str(refused.value).startswith(expected)


def test_an_exported_model_is_named_where_a_run_is_needed(place, capsys):
  argv = ["pin", f"--model={place / 'model'}", "--step=20"]
  assert command.main(argv) == 2
  assert "an exported model, not the run that made it" in (
    capsys.readouterr().err
  )


def test_a_step_that_a_run_lacks_is_refused_with_those_it_has(place):
  with pytest.raises(errors.InputError, match="no checkpoint of step 3"):
    best.chosen(place / "runs/speech", 3)
