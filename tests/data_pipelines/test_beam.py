"""A Beam engine makes the same files as `prepare` does."""

import os
import pathlib
import subprocess
import sys
import sysconfig
import venv

import pytest

from soundstream_jax import errors
from soundstream_jax.data_pipelines import beam, prepare

FLAGS = ("--dataset=synthetic", "--minutes=10", "--sample_rate=8000")


def test_without_beam_one_line_names_the_extra(monkeypatch, tmp_path, capsys):
  monkeypatch.setitem(sys.modules, "apache_beam", None)
  flags = ["beam", *FLAGS, f"--out={tmp_path / 'out'}", "--", "--runner=x"]
  assert errors.run(beam.main, flags) == 2
  (line,) = capsys.readouterr().err.splitlines()
  assert "soundstream_jax[beam]" in line
  assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_beam_engine_makes_the_same_files(tmp_path):
  """In an environment of its own: Beam wants another protobuf than ours."""
  root = tmp_path / "venv"
  venv.create(root, with_pip=True)
  variables = {"base": str(root), "platbase": str(root)}
  site = pathlib.Path(sysconfig.get_path("purelib", "venv", variables))
  python = pathlib.Path(sysconfig.get_path("scripts", "venv", variables))
  python /= "python"
  # What we need is borrowed; Beam, and what it wants in other versions, is
  # found first. site.addsitedir also follows our own editable install.
  borrowed = sysconfig.get_path("purelib")
  (site / "borrowed.pth").write_text(
    f"import site; site.addsitedir({borrowed!r})\n"
  )
  pinned = pathlib.Path(__file__).parents[2] / "data_pipelines/constraints.txt"
  subprocess.run(
    [python, "-m", "pip", "install", "-q", "-c", pinned, "apache-beam"],
    check=True,
  )
  assert prepare.main(["", *FLAGS, f"--out={tmp_path / 'plain'}"]) == 0
  done = subprocess.run(
    [
      *(python, "-m", "soundstream_jax.data_pipelines.beam"),
      *(*FLAGS, f"--out={tmp_path / 'beam'}", "--", "--runner=DirectRunner"),
    ],
    env={k: v for k, v in os.environ.items() if k != "PYTHONPATH"},
    capture_output=True,
    text=True,
    timeout=600,
  )
  assert done.returncode == 0, done.stderr
  assert "is ready" in done.stdout
  plain, other = (
    {f.name: f.read_bytes() for f in (tmp_path / name).iterdir()}
    for name in ("plain", "beam")
  )
  assert plain == other
