"""An output that cannot be written: one line, nothing left, nothing lost."""

import errno
import os
import pathlib
import subprocess
import sys
import time

import pytest

from soundstream_jax import errors, whole_files
from soundstream_jax.cli import __main__ as command

FROZEN = pathlib.Path(__file__).parents[1] / "frozen/v0_1"
SPEECH = FROZEN / "speech.sstr"
# In a folder D; IN is a folder of audio, X a coded file.
COMMANDS = {
  "encode": "encode D/in.wav D/out.sstr",
  "packets": "encode D/in.wav D/out.packets --raw",
  "folder": "encode D/in D/coded",
  "decode": "decode D/a.sstr D/out.wav",
  "transcode": "transcode D/a.sstr D/out.sstr --bitrate=250",
  "export": "export D/model",
  "tokens": "tokens --data=D/in --out=D/tokens",
  "pin": "pin --step=10",
}


@pytest.fixture
def argv(tmp_path, wav, encoded, workdir):
  """Returns argv(name of a command) -> its words, all inputs there."""
  (tmp_path / "in").mkdir()
  for name in ("a.wav", "b.wav"):
    wav(name=f"in/{name}")

  def make(name):
    words = COMMANDS[name].replace("D/", f"{tmp_path}/").split()
    return words + [f"--model={workdir}"] * (name != "transcode")

  return make


def _files(*folders):
  return {p for folder in folders for p in folder.rglob("*") if p.is_file()}


# Before the first byte, after the last one, and when the file gets its name.
@pytest.mark.parametrize("call", ["open", "fsync", "replace"])
@pytest.mark.parametrize("reason", [errno.ENOSPC, errno.EROFS, errno.EACCES])
@pytest.mark.parametrize("name", COMMANDS)
def test_a_full_or_read_only_disk_is_one_line_and_the_command_goes_on(
  name, reason, call, argv, workdir, tmp_path, capsys, monkeypatch
):
  def refuse(*_, **__):
    raise OSError(reason, os.strerror(reason))

  words, before = argv(name), _files(tmp_path, workdir)
  capsys.readouterr()
  with monkeypatch.context() as patched:
    if call == "open":
      patched.setattr(whole_files, "open", refuse, raising=False)
    else:
      patched.setattr(whole_files.os, call, refuse)
    patched.setattr(pathlib.Path, "touch", refuse)
    assert command.main(words) == errors.EXIT_DISK
  out, err = capsys.readouterr()
  assert out == ""
  assert err.startswith("error: ") and err.count("\n") == 1
  assert os.strerror(reason) in err and "MB free" in err
  assert _files(tmp_path, workdir) == before
  assert command.main(words) == 0
  made = _files(tmp_path, workdir) - before
  assert made and not any(".partial" in path.name for path in made)
  for path in made:
    path.unlink()


def test_of_two_exports_the_first_is_there_and_the_second_is_told(
  argv, tmp_path, workdir, capsys, monkeypatch
):
  """The second one writes after the first has looked and before it has."""
  words, sync, codes = argv("export"), whole_files.sync, []

  def other_step(path):
    monkeypatch.setattr(whole_files, "sync", sync)
    second = subprocess.Popen(
      [sys.executable, "-m", "soundstream_jax.cli", *words, "--step=10"],
      stderr=subprocess.PIPE,
      text=True,
    )
    codes.append(second)
    sync(path)

  monkeypatch.setattr(whole_files, "sync", other_step)
  assert command.main(words) == 0
  _, told = codes[0].communicate(timeout=120)
  assert codes[0].returncode == 2
  assert told.startswith("error: ") and "holds an exported model" in told
  assert (
    command.main(
      [
        "encode",
        f"{tmp_path}/in.wav",
        f"{tmp_path}/b.sstr",
        f"--model={tmp_path}/model",
      ]
    )
    == 0
  )


TO_STDOUT = [("info", SPEECH), ("transcode", SPEECH, "-", "--bitrate=600")]


@pytest.fixture(params=["", "1"])
def start(request):
  """Starts a command whose stdout is buffered by Python, or is not."""
  environment = os.environ | {"PYTHONUNBUFFERED": request.param}

  def run(words, stdout):
    return subprocess.Popen(
      [sys.executable, "-m", "soundstream_jax.cli", *map(str, words)],
      stdout=stdout,
      stderr=subprocess.PIPE,
      text=True,
      env=environment,
    )

  return run


@pytest.mark.parametrize("words", TO_STDOUT)
def test_a_full_standard_output_is_one_line_and_no_success(words, start):
  with open("/dev/full", "wb") as full:
    process = start(words, full)
    _, told = process.communicate(timeout=60)
  assert process.returncode == errors.EXIT_DISK
  assert told.startswith("error: standard output") and told.count("\n") == 1
  assert "No space left on device" in told


@pytest.mark.parametrize("words", TO_STDOUT)
def test_a_reader_that_goes_is_silent_and_no_success(words, start):
  reader, writer = os.pipe()
  os.close(reader)
  process = start(words, writer)
  os.close(writer)
  _, told = process.communicate(timeout=60)
  assert (process.returncode, told) == (errors.EXIT_NOBODY_READS, "")


@pytest.mark.parametrize("words", TO_STDOUT)
def test_a_standard_output_that_is_closed_is_one_line(words):
  line = [sys.executable, "-m", "soundstream_jax.cli", *map(str, words)]
  done = subprocess.run(
    ["sh", "-c", '"$@" >&-', "sh", *line],
    stderr=subprocess.PIPE,
    text=True,
    timeout=60,
  )
  assert done.returncode == errors.EXIT_BAD_INPUT
  assert done.stderr.startswith("error: standard output is closed")
  assert done.stderr.count("\n") == 1


def test_a_signal_ends_a_stream_as_its_input_does(workdir, tmp_path):
  """Two seconds of sound, then Ctrl-C while it waits for more."""
  out = tmp_path / "out.sstr"
  with open(out, "wb") as file:
    process = subprocess.Popen(
      [
        sys.executable,
        "-m",
        "soundstream_jax.cli",
        "stream",
        f"--model={workdir}",
      ],
      stdin=subprocess.PIPE,
      stdout=file,
      stderr=subprocess.PIPE,
      env=os.environ | {"JAX_PLATFORMS": "cpu"},
    )
    process.stdin.write(bytes(2 * 32_000))
    process.stdin.flush()
    deadline = time.monotonic() + 120
    while out.stat().st_size < 600:  # 12 chunks of 8 frames, 4 frames wait
      assert process.poll() is None and time.monotonic() < deadline
      time.sleep(0.05)
    process.send_signal(2)
    told = process.stderr.read()
    process.stdin.close()
    process.stderr.close()
  assert (process.wait(timeout=60), told) == (130, b"")
  assert (
    "32000 samples"
    in subprocess.run(
      [sys.executable, "-m", "soundstream_jax.cli", "info", out],
      capture_output=True,
      text=True,
      check=True,
    ).stdout
  )
