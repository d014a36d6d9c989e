"""Laws of `python -m soundstream_jax.train` with a command line that is wrong.

One line on stderr, exit code 2, nothing written. Python and jax take seconds to
start, so one process imports them and forks for each command line; what runs in
the fork is the command itself, from parsing sys.argv to its exit code.
"""

import json
import os
import re
import subprocess
import sys

import pytest

SERVER = """
import json, os, runpy, sys
from soundstream_jax.train import loop
WRITE = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
for line in sys.stdin:
  flags, folder = json.loads(line)
  child = os.fork()
  if child == 0:
    os.chdir(folder)
    for number, name in ((1, "stdout"), (2, "stderr")):
      os.dup2(os.open(f"../{name}", WRITE), number)
    sys.argv = ["train", *flags]
    try:
      runpy.run_module("soundstream_jax.train", run_name="__main__")
    except SystemExit as end:
      sys.stdout.flush()
      os._exit(end.code)  # without the seconds that taking down jax takes
    sys.exit(0)
  print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


@pytest.fixture(scope="module")
def server():
  process = subprocess.Popen(
    [sys.executable, "-c", SERVER],
    stdin=subprocess.PIPE,
    stdout=subprocess.PIPE,
    text=True,
    env=os.environ | {"JAX_PLATFORMS": "cpu"},
  )
  yield process
  process.stdin.close()
  process.stdout.close()
  process.wait()


def contents(folder):
  return {
    str(path.relative_to(folder)): path.is_file() and path.read_bytes()
    for path in sorted(folder.rglob("*"))
  }


@pytest.fixture
def refused(server, tmp_path):
  """Runs the command, which must refuse; returns its one line.

  The command runs in a folder with an empty folder `empty` and a file `file`.
  """
  folder = tmp_path / "cwd"
  (folder / "empty").mkdir(parents=True)
  (folder / "file").write_text("keep me")

  def run(*flags):
    before = contents(folder)
    server.stdin.write(json.dumps([flags, str(folder)]) + "\n")
    server.stdin.flush()
    exit_code = int(server.stdout.readline())
    out, err = (tmp_path / n for n in ("stdout", "stderr"))
    assert re.fullmatch(r"error: \S.*[.?]\n", err.read_text())
    assert out.read_text() == ""
    assert exit_code == 2
    assert contents(folder) == before
    return err.read_text()

  return run


@pytest.mark.parametrize(
  ("flag", "said"),
  [
    # What is misspelt, and the nearest name.
    ("--config=tyni", "Did you mean 'tiny'? Presets: enhance_24khz, "),
    ("--config=soundstream_24kHz", "Did you mean 'soundstream_24khz'?"),
    ("--config=mine.py", "no such file"),
    ("--config.num_stepz=5", "Did you mean 'num_steps'?"),
    ("--config.optimizer.learnig_rate=1", "'optimizer.learning_rate'?"),
    ("--config.model=1", "--config.model: there is no such field"),
    ("--config.=1", "there is no such field"),
    ("--workdr=run", "no flag --workdr. Did you mean 'workdir'?"),
    ("--configs=tiny", "no flag --configs. Did you mean 'config'?"),
    # A value of another type.
    ("--config.num_steps=many", "many is not a whole number, as in 1"),
    ("--config.num_steps=1.5", "num_steps=1.5 is not a whole number"),
    ("--config.num_steps=10k", "for 10k write 10000. The present value is"),
    ("--config.num_steps=1e-3", "num_steps=1e-3 is not a whole number"),
    ("--config.num_steps=1e999999999", "is not a whole number"),
    ("--config.optimizer.learning_rate=1,5", "1,5 is not a number, as in 0.5"),
    (
      "--config.quantizer.dropout=maybe",
      "maybe is not a switch (true or false)",
    ),
    ("--config.model.strides=8", "8 is not a tuple of numbers, as in '(2"),
    ("--config.model.strides=(2,x)", "(2,x) is not a tuple of numbers"),
    ("--config.optimizer.learning_rate=nan", "must be finite"),
    ("--config.num_steps", "has no value"),
    # A value that cannot work.
    (
      "--config.quantizer.codebook_size=1000",
      "quantizer.codebook_size=1000 is not a power of two; codes are packed in "
      "whole bits. Use 512 or 1024.",
    ),
    (
      "--config.model.strides=(7,8,9)",
      "data.crop_samples=4800 is not a multiple of the hop 504, the product of "
      "model.strides=(7, 8, 9). Use 4536.",
    ),
    ("--config.batch_size=9", "not a multiple of the 8 devices. Use 8."),
    ("--config.mesh.fsdp=3", "divides 8"),
    (
      "--config.quantizer.codebook_size=2048",
      "960 frames for 2048 codes (batch_size=8, data.crop_samples=4800). Use "
      "quantizer.kmeans_batches=18 or more",
    ),
    ("--config.init_from=empty", "init_from=empty holds no checkpoint"),
    ("--config.data.sources=empty", "empty is empty"),
    ("--config.data.sources=", "data.sources is empty"),
    ("--config.data.sources=empty:x", "DIR:weight"),
    # What is in the wrong place.
    ("tiny", "unexpected argument 'tiny'"),
    ("--workdir=", "--workdir is missing"),
    ("--workdir=file", "--workdir=file: file is a file"),
    ("--workdir=file/run", "--workdir=file/run: file is a file"),
  ],
)
def test_a_wrong_flag_is_one_line_and_nothing_is_written(refused, flag, said):
  # Eight devices share the batch here.
  given = ("--config=tiny", "--workdir=run", "--config.batch_size=8", flag)
  assert said in refused(*given)


def test_a_command_line_without_flags_says_what_is_missing(refused):
  assert "--workdir is missing" in refused()


@pytest.mark.parametrize("workdir", ["empty", "absent"])
def test_a_workdir_without_a_run_needs_a_preset(refused, workdir):
  line = refused(f"--workdir={workdir}")
  assert "--config is missing" in line
  assert "Use one of: enhance_24khz, " in line


def test_a_damaged_configuration_in_the_workdir_is_left_as_it_is(
  refused, tmp_path
):
  (tmp_path / "cwd/empty/config.json").write_text("{")
  assert "config.json is not valid JSON" in refused("--workdir=empty")
  (tmp_path / "cwd/empty/config.json").write_text("[]")
  assert "is not a group of fields" in refused("--workdir=empty")
