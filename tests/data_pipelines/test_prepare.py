"""The command: one line and exit code 2 for what a user can get wrong."""

import io
import os
import pathlib
import subprocess
import sys

import pytest

from soundstream_jax import errors
from soundstream_jax.data import source
from soundstream_jax.data_pipelines import catalog, prepare
from soundstream_jax.data_pipelines.preparation import progress

COMMAND = [sys.executable, "-m", "soundstream_jax.data_pipelines.prepare"]


def _fails(capsys, *flags):
  """Runs the command in this process; returns the line that it ends with."""
  assert errors.run(prepare.main, ["prepare", *flags]) == 2
  told = capsys.readouterr()
  assert told.out == ""
  (line,) = told.err.splitlines()
  return line


def test_out_is_what_training_points_at(tmp_path, capsys):
  out = tmp_path / "new" / "voices"
  code = prepare.main(
    ["", "--dataset=synthetic", "--minutes=0.4", f"--out={out}", "--seed=3"]
  )
  assert code == 0
  for split, count in {"train": 10, "validation": 1, "test": 1}.items():
    assert len(source.open_source(str(out), split, 24_000)) == count
  told = capsys.readouterr().out
  assert told.splitlines()[-1].endswith(f": --config.data.sources={out}")
  assert "validation" in told


def test_a_link_to_a_folder_is_followed(tmp_path, capsys):
  real, link = tmp_path / "elsewhere" / "real", tmp_path / "link"
  real.mkdir(parents=True)
  link.symlink_to(real)
  words = ("--dataset=synthetic", "--minutes=0.4", f"--out={link}")
  assert prepare.main(["", *words]) == 0
  assert link.is_symlink() and (real / "metadata.json").exists()
  assert sorted(tmp_path.iterdir()) == [real.parent, link]
  assert f"--config.data.sources={link}" in capsys.readouterr().out


@pytest.mark.parametrize(
  ("flags", "reason"),
  [
    ([], "--dataset= is missing"),
    (["--dataset=synthetik"], "Did you mean 'synthetic'"),
    (["--dataset"], "Missing value for flag --dataset"),
    (["--datset=synthetic"], "Did you mean: dataset"),
    (["voices"], "unexpected argument 'voices'"),
    (["--dataset=synthetic", "--seed=x"], "--seed=x"),
    (["--dataset=synthetic", "--seed=-1"], "--seed=-1"),
    (["--dataset=synthetic", "--sample_rate=0"], "--sample_rate=0"),
    (["--dataset=synthetic", "--minutes=four"], "--minutes=four"),
    (["--dataset=synthetic", "--minutes=0"], "--minutes=0 "),
    (["--dataset=synthetic", "--kind=voice"], "Did you mean 'voices'"),
    (["--dataset=synthetic", "--split=90,5"], "--split=90,5 "),
    (["--dataset=synthetic", "--input=x"], "--input belongs to"),
    (["--dataset=synthetic", "--group_by=file"], "--group_by belongs to"),
    (["--dataset=audio_folder", "--seed=1"], "--seed belongs to"),
    (["--dataset=audio_folder"], "--input is missing"),
    (["--dataset=audio_folder", "--input=none"], "--input=none does not"),
    (["--dataset=audio_folder", "--input=empty"], "no files at all"),
    (["--dataset=audio_folder", "--input=text"], "it has 1 .txt"),
    (["--dataset=audio_folder", "--input=text/a.txt"], "is a file"),
    (["--dataset=audio_folder", "--kind=speach"], "Did you mean 'speech'"),
    (["--dataset=audio_folder", "--workers=-1"], "--workers=-1"),
    (["--dataset=libritts", "--kind=music"], "libritts has speech"),
    (["--dataset=libritts", "--input=text"], "is not LibriTTS"),
  ],
)
def test_a_bad_flag_is_one_line_and_nothing_is_written(
  tmp_path, monkeypatch, capsys, flags, reason
):
  monkeypatch.chdir(tmp_path)
  pathlib.Path("empty").mkdir()
  pathlib.Path("text").mkdir()
  pathlib.Path("text", "a.txt").write_text("")
  assert reason in _fails(capsys, "--out=out", *flags)
  assert sorted(os.listdir()) == ["empty", "text"]


def test_out_must_be_new_or_empty(tmp_path, monkeypatch, capsys):
  monkeypatch.chdir(tmp_path)
  flags = ["--dataset=synthetic", "--minutes=0.4"]
  assert "--out is missing" in _fails(capsys, *flags)
  pathlib.Path("file").write_text("")
  assert "is a file" in _fails(capsys, *flags, "--out=file")
  pathlib.Path("full").mkdir()
  pathlib.Path("full", "a").write_text("")
  assert "holds other files" in _fails(capsys, *flags, "--out=full")
  pathlib.Path("new").mkdir()
  assert prepare.main(["", *flags, "--out=new"]) == 0
  capsys.readouterr()
  before = {f.name: f.stat().st_mtime_ns for f in pathlib.Path("new").iterdir()}
  assert "already holds a dataset" in _fails(capsys, *flags, "--out=new")
  after = {f.name: f.stat().st_mtime_ns for f in pathlib.Path("new").iterdir()}
  assert before == after
  assert "file is a file" in _fails(capsys, *flags, "--out=file/under")


def test_help_names_every_flag(capsys):
  assert prepare.main(["prepare", "--help"]) == 0
  told = capsys.readouterr().out
  for name in prepare.define_flags():
    assert f"{name}:" in told


def test_the_real_command_ends_a_bad_flag_with_exit_code_2(tmp_path):
  done = subprocess.run(
    [*COMMAND, "--dataset=synthetic", "--outt=x"],
    cwd=tmp_path,
    capture_output=True,
    text=True,
    timeout=60,
  )
  assert done.returncode == 2
  assert done.stdout == ""
  assert len(done.stderr.splitlines()) == 1
  assert "Did you mean: out" in done.stderr


@pytest.mark.parametrize(
  "name", [n for n in catalog.names() if not catalog.flags_of(n)]
)
def test_every_dataset_says_where_it_is_and_what_its_licence_is(capsys, name):
  assert prepare.main(["prepare", f"--dataset={name}", "--describe"]) == 0
  told = capsys.readouterr().out
  for line in ("get it from", "licence", "splits", "citation"):
    assert f"\n{line}" in told


class _Terminal(io.StringIO):
  def isatty(self):
    return True


def test_progress_rewrites_one_line_on_a_terminal_and_clears_it(monkeypatch):
  now = iter(range(0, 1_000, 10))
  monkeypatch.setattr(progress.time, "monotonic", lambda: next(now))
  stream = _Terminal()
  shown = progress.Progress(stream)
  shown.update(0.25, 600.0)
  shown.update(0.5, 1_200.0)
  shown.close()
  first, second, cleared, last = stream.getvalue().split("\r")[1:]
  assert first == " 25 %, 0:10:00 of audio at 60 x real time, 0:00:30 left"
  assert second == " 50 %, 0:20:00 of audio at 60 x real time, 0:00:20 left"
  assert cleared.strip() == last == ""


def test_progress_counts_the_time_of_this_run_alone(monkeypatch):
  now = iter(range(0, 1_000, 10))
  monkeypatch.setattr(progress.time, "monotonic", lambda: next(now))
  stream = _Terminal()
  progress.Progress(stream, already=0.5).update(0.75, 600.0)
  assert stream.getvalue().endswith("60 x real time, 0:00:10 left")
