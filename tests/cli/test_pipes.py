"""Laws of "-", links, pipes and devices in place of files."""

import os
import subprocess
import sys
import threading

import numpy as np
import pytest
import soundfile

from soundstream_jax import errors
from soundstream_jax.cli import __main__ as command

BITRATE = "--bitrate=250"


@pytest.fixture
def files(encoded, wav, workdir, tmp_path, capsys):
  """What each command reads, and what it makes of it as files."""
  model = f"--model={workdir}"
  sound = wav()
  made = {}
  for name, words in {
    "encode": (sound, model),
    "decode": (encoded, model),
    "transcode": (encoded, BITRATE),
  }.items():
    source, *options = words
    suffix = ".wav" if name == "decode" else ".sstr"
    target = tmp_path / f"{name}{suffix}"
    argv = [name, source, target, *options]
    assert command.main([str(word) for word in argv]) == 0
    made[name] = (source, target, options)
  capsys.readouterr()
  return made


def _process(*words, **how):
  return subprocess.run(
    [sys.executable, "-m", "soundstream_jax.cli", *map(str, words)],
    env=os.environ | {"JAX_PLATFORMS": "cpu"},
    capture_output=True,
    timeout=120,
    check=False,
    **how,
  )


@pytest.mark.parametrize("name", ["encode", "decode", "transcode"])
def test_a_pipe_gives_the_bytes_of_a_file(files, name):
  source, target, options = files[name]
  with open(source, "rb") as file:  # a file as standard input
    done = _process(name, "-", "-", *options, stdin=file)
  assert (done.returncode, done.stdout) == (0, target.read_bytes())
  piped = _process(name, "-", "-", *options, input=source.read_bytes())
  assert (piped.returncode, piped.stdout) == (0, target.read_bytes())
  # What is said, is said beside the bytes.
  assert piped.stderr.count(b"\n") == (2 if name == "encode" else 1)


def test_what_ffmpeg_reads_may_be_standard_input(
  with_ffmpeg, wav, workdir, tmp_path
):
  sound, video = wav(), tmp_path / "a.m4a"
  subprocess.run(
    ["ffmpeg", "-v", "error", "-i", sound, video],
    stdin=subprocess.DEVNULL,
    check=True,
  )
  model = f"--model={workdir}"
  named = _process("encode", video, "-", model)
  with open(video, "rb") as file:
    redirected = _process("encode", "-", "-", model, stdin=file)
    os.unlink(video)  # it has no name any more
    file.seek(0)
    nameless = _process("encode", "-", "-", model, stdin=file)
  assert named.returncode == 0 and len(named.stdout) > 150
  assert redirected.stdout == nameless.stdout == named.stdout


def test_info_reads_a_pipe(encoded):
  done = _process("info", "-", input=encoded.read_bytes())
  named = _process("info", encoded)
  assert done.returncode == 0
  assert (
    done.stdout.replace(b"standard input", os.fsencode(encoded)) == named.stdout
  )


@pytest.mark.parametrize("name", ["encode", "decode", "transcode", "info"])
@pytest.mark.parametrize("share", [0.0, 0.02])
def test_a_standard_input_that_ends_early_is_one_line(files, name, share):
  source, _, options = files.get(name, (files["decode"][0], None, []))
  data = source.read_bytes()
  target = [] if name == "info" else ["-"]
  cut = data[: int(share * len(data))]
  done = _process(name, "-", *target, *options, input=cut)
  assert done.returncode == errors.EXIT_BAD_INPUT
  # 2 % of a sound can be encoded.
  told = b"damaged" if name == "encode" and share == 0.02 else b"error"
  assert done.stderr.startswith(told + b": standard input: ")
  assert done.stderr.count(b"\n") == (3 if told == b"damaged" else 1)


@pytest.mark.parametrize("name", ["encode", "decode", "transcode"])
def test_a_named_pipe_is_written_through_and_stays(files, name, tmp_path):
  source, target, options = files[name]
  pipe, got = tmp_path / "pipe", []
  os.mkfifo(pipe)
  reader = threading.Thread(target=lambda: got.append(pipe.read_bytes()))
  reader.start()
  argv = [name, source, pipe, *options]
  assert command.main([str(word) for word in argv]) == 0
  reader.join(timeout=10)
  assert got == [target.read_bytes()]
  assert pipe.is_fifo()


@pytest.mark.parametrize("name", ["encode", "decode", "transcode"])
def test_a_named_pipe_is_read_as_its_file_is(files, name, tmp_path):
  """As of a shell's <(...): nobody can go back in it."""
  source, target, options = files[name]
  pipe, out = tmp_path / "pipe", tmp_path / f"out{target.suffix}"
  os.mkfifo(pipe)
  writer = threading.Thread(
    target=lambda: pipe.write_bytes(source.read_bytes())
  )
  writer.start()
  argv = [name, pipe, out, *options]
  assert command.main([str(word) for word in argv]) == 0
  writer.join(timeout=10)
  assert out.read_bytes() == target.read_bytes()


@pytest.mark.parametrize("name", ["encode", "decode", "transcode"])
def test_nothing_is_said_among_the_bytes(files, name):
  source, target, options = files[name]
  done = _process(name, source, "/dev/stdout", *options)
  assert (done.returncode, done.stdout) == (0, target.read_bytes())


@pytest.mark.parametrize("name", ["encode", "decode", "transcode"])
def test_a_reader_of_a_named_pipe_that_leaves_ends_it_without_a_word(
  files, name, tmp_path
):
  source, _, options = files[name]
  pipe = tmp_path / "pipe"
  os.mkfifo(pipe)
  words = (name, source, pipe, *options)

  def leave():
    os.close(os.open(pipe, os.O_RDONLY))

  reader = threading.Thread(target=leave)
  reader.start()
  done = _process(*words)
  reader.join(timeout=10)
  assert done.stderr.count(b"\n") <= 1
  assert done.returncode in (0, errors.EXIT_NOBODY_READS)  # it took all, or not


@pytest.mark.parametrize("name", ["encode", "decode", "transcode"])
def test_a_link_is_followed_and_its_target_replaced(
  files, name, tmp_path, refused
):
  source, target, options = files[name]
  real = tmp_path / "elsewhere" / f"real{target.suffix}"
  real.parent.mkdir()
  link = tmp_path / f"link{target.suffix}"
  link.symlink_to(real)
  words = (name, source, link, *options)
  # A dangling link asks as a file does.
  assert "is a link to" in refused(*words) and not real.exists()
  real.write_bytes(b"old")
  number = real.stat().st_ino
  assert "exists already" in refused(*words)
  assert command.main([str(word) for word in (*words, "--force")]) == 0
  assert link.is_symlink() and real.read_bytes() == target.read_bytes()
  assert real.stat().st_ino != number  # another file, whole at once
  real.unlink()
  assert command.main([str(word) for word in (*words, "--force")]) == 0
  assert link.is_symlink() and real.read_bytes() == target.read_bytes()


def test_a_device_of_ones_own_is_written_through(files, tmp_path):
  if os.geteuid():
    pytest.skip("only root can make a device")
  null = tmp_path / "null.wav"
  os.mknod(null, 0o666 | 0o020000, os.makedev(1, 3))
  source, _, options = files["decode"]
  argv = ["decode", source, null, *options]
  assert command.main([str(word) for word in argv]) == 0
  assert null.is_char_device()


def test_a_closed_standard_input_and_a_terminal_are_one_line(workdir):
  line = [sys.executable, "-m", "soundstream_jax.cli", "encode", "-", "-"]
  line.append(f"--model={workdir}")
  closed = subprocess.run(
    ["sh", "-c", '"$@" <&-', "sh", *line],
    capture_output=True,
    text=True,
    timeout=60,
    check=False,
  )
  assert closed.returncode == 2 and closed.stderr.count("\n") == 1
  assert "standard input is closed" in closed.stderr
  _, terminal = os.openpty()
  asked = subprocess.run(
    line,
    stdin=terminal,
    capture_output=True,
    text=True,
    timeout=60,
    check=False,
  )
  os.close(terminal)
  assert asked.returncode == 2 and "is a terminal" in asked.stderr


def test_nothing_is_left_of_a_pipe_that_was_copied(files, tmp_path):
  source, _, options = files["encode"]
  folder = tmp_path / "temporary"
  folder.mkdir()
  environment = os.environ | {"TMPDIR": str(folder)}
  done = subprocess.run(
    [
      *(sys.executable, "-m", "soundstream_jax.cli", "encode", "-", "-"),
      *map(str, options),
    ],
    input=source.read_bytes(),
    env=environment,
    capture_output=True,
    timeout=120,
    check=True,
  )
  assert done.stdout and list(folder.iterdir()) == []


def test_a_loud_file_is_named(wav, workdir, refused, tmp_path):
  """Finite samples, and a resampler that makes infinity of them."""
  path = tmp_path / "loud.wav"
  loud = np.float32(3.4e38) * np.where(np.arange(4_800) % 2, 1, -1)
  soundfile.write(path, loud.astype(np.float32), 48_000, subtype="FLOAT")
  told = refused("encode", path, tmp_path / "o.sstr", f"--model={workdir}")
  assert str(path) in told and "NaN or infinite" in told
