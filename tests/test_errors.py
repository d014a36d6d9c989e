"""Laws of bad input: one line, exit code 2; our own bugs keep a traceback."""

import errno
import os
import pathlib
import subprocess
import sys

import pytest

from soundstream_jax import endings, errors


def fail(message):
  raise errors.InputError(message)


@pytest.mark.parametrize(("returned", "code"), [(None, 0), (0, 0), (75, 75)])
def test_a_command_that_does_not_fail_keeps_its_exit_code(returned, code):
  assert errors.run(lambda: returned) == code


def test_a_command_gets_its_arguments():
  seen = []
  errors.run(lambda *args: seen.extend(args), 1, "two")
  assert seen == [1, "two"]


def test_bad_input_is_one_line_on_stderr_and_exit_code_2(capsys):
  assert errors.run(fail, "a=3 is odd.\n  Use 2\n\tor 4.\n") == 2
  out, err = capsys.readouterr()
  assert out == ""
  assert err == "error: a=3 is odd. Use 2 or 4.\n"


def test_a_bug_of_ours_is_not_reported_as_bad_input():
  with pytest.raises(ZeroDivisionError):
    errors.run(lambda: 1 // 0)


def test_the_nearest_known_name_is_offered_and_a_far_one_is_not():
  known = ("tiny", "soundstream_24khz")
  assert errors.nearest("tyni", known) == " Did you mean 'tiny'?"
  assert errors.nearest("soundstream24", known).endswith("'soundstream_24khz'?")
  assert errors.nearest("xqw", known) == ""
  assert errors.nearest("tiny", ()) == ""


def test_a_disk_that_cannot_be_written_is_one_line_with_its_space(
  capsys, tmp_path
):
  def fill():
    with errors.writing("step 3", tmp_path / "there" / "not"):
      raise OSError(28, "No space left on device")

  assert errors.run(fill) == errors.EXIT_DISK == 74
  out, err = capsys.readouterr()
  assert out == ""
  assert err.count("\n") == 1
  assert f"step 3 could not be written to {tmp_path}/there/not" in err
  assert "No space left on device" in err
  assert "MB free" in err


@pytest.mark.parametrize(
  ("stop", "code"), [(KeyboardInterrupt(), 130), (endings.Stopped(143), 143)]
)
def test_a_signal_is_one_word_and_its_exit_code(stop, code, capsys):
  def work():
    raise stop

  assert errors.run(work) == code
  assert capsys.readouterr() == ("", "interrupted\n")


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EDQUOT])
def test_a_full_disk_that_nobody_expected_is_one_line_too(number, capsys):
  def fill():
    raise OSError(number, "cannot", "out/file")

  assert errors.run(fill) == errors.EXIT_DISK
  (line,) = capsys.readouterr().err.splitlines()
  assert line.startswith("error: out/file: cannot be written (cannot).")


@pytest.mark.parametrize(
  "number", [errno.ENOENT, errno.EPIPE, errno.ECONNRESET]
)
def test_another_error_of_the_system_keeps_its_traceback(number):
  def fail():
    raise OSError(number, "bug")

  with pytest.raises(OSError, match="bug"):
    errors.run(fail)


@pytest.mark.parametrize("number", [errno.ENOENT, errno.ENOTDIR])
def test_a_place_that_cannot_be_is_bad_input_not_a_bad_disk(number, tmp_path):
  def miss():
    with errors.writing("a.wav", tmp_path / "none"):
      raise OSError(number, "no place")

  assert errors.run(miss) == errors.EXIT_BAD_INPUT


REFUSALS = [
  *(errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ELOOP),
  *(errno.ENAMETOOLONG, errno.EACCES, errno.EPERM, errno.EINVAL, errno.EMFILE),
  *(errno.EIO, errno.ESTALE, errno.ENOTCONN, errno.EREMOTEIO, errno.ETIMEDOUT),
]


@pytest.mark.parametrize("name", ["a/b", b"a/b", pathlib.Path("a/b")])
@pytest.mark.parametrize("number", REFUSALS)
def test_a_file_that_the_system_refuses_is_one_line_with_its_name(
  number, name, capsys
):
  def refuse():
    raise OSError(number, os.strerror(number), name)

  assert errors.run(refuse) == errors.EXIT_BAD_INPUT
  out, err = capsys.readouterr()
  assert out == ""
  assert err.startswith(f"error: a/b: {os.strerror(number)}. ")
  assert err.endswith(".\n") and err.count("\n") == 1


@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE])
def test_a_disk_that_fails_amid_a_file_is_one_line_without_a_name(
  number, capsys
):
  def fail():
    raise OSError(number, os.strerror(number))

  assert errors.run(fail) == errors.EXIT_BAD_INPUT
  assert os.strerror(number) in capsys.readouterr().err


def test_a_file_of_this_package_that_is_missing_is_our_bug():
  missing = pathlib.Path(errors.__file__).with_name("missing")
  with pytest.raises(FileNotFoundError):
    errors.run(missing.read_text)


def test_what_is_read_while_a_folder_is_written_is_named_itself(tmp_path):
  def write():
    with errors.writing("step 3", tmp_path / "out"):
      raise PermissionError(errno.EACCES, "closed", str(tmp_path / "in/a.wav"))

  with pytest.raises(errors.InputError, match=r"in/a\.wav: closed\."):
    write()


@pytest.mark.parametrize("number", [errno.EACCES, errno.EPERM, errno.ELOOP])
def test_a_folder_that_may_not_be_written_is_bad_input(number, tmp_path):
  def write():
    with errors.writing("step 3", tmp_path / "out"):
      raise OSError(number, "closed", str(tmp_path / "out/3"))

  with pytest.raises(errors.InputError, match="step 3 cannot be written to"):
    write()


def test_reading_says_the_flag_and_each_name_once(tmp_path):
  def read(name):
    with errors.reading(name):
      (tmp_path / "none").read_text()

  name = f"--in={tmp_path}/none"
  with pytest.raises(errors.InputError) as error:
    read(name)
  assert str(error.value) == f"{name}: {os.strerror(2)}. Check the path."
  with pytest.raises(errors.InputError, match=f"^--in=x: {tmp_path}/none: No"):
    read("--in=x")


def test_a_disk_that_answers_no_more_ends_training_with_a_code_to_try_again():
  program = """
from soundstream_jax.devices import ending
ending.fail(OSError({}, "gone", "/mnt/a"))
"""
  for number, code in ((errno.ESTALE, 1), (errno.EACCES, 2)):
    done = subprocess.run(
      [sys.executable, "-c", program.format(int(number))],
      capture_output=True,
      text=True,
      timeout=60,
      check=False,
    )
    assert done.returncode == code
    assert (code in errors.FINAL) == (code == 2)
    assert done.stderr.startswith("error: /mnt/a: gone. ")
    assert done.stderr.count("\n") == 1
