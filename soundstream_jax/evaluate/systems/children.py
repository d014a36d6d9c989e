"""Programs of others that systems run: without a shell, never for ever.

A child ends with its parent, however that ends, and Ctrl-C comes to us alone.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence

from soundstream_jax import errors

TIMEOUT_S = 600.0
_SAID = 300  # characters of what a program said

# What the child does before it becomes the program. 1 is PR_SET_PDEATHSIG.
_BECOME = """
import ctypes, os, sys
parent, *command = sys.argv[1:]
if sys.platform == "linux":
  ctypes.CDLL(None).prctl(1, 9)
  if os.getppid() != int(parent):
    os._exit(1)
try:
  os.execvp(command[0], command)
except OSError as error:
  sys.exit(f"{command[0]} cannot be started: {error.strerror}")
"""


def run(
  command: Sequence[str | os.PathLike],
  *,
  name: str,
  given: bytes = b"",
  timeout_s: float = TIMEOUT_S,
  cwd: str | os.PathLike | None = None,
  env: Mapping[str, str] | None = None,
) -> bytes:
  """Runs a program to its end; returns what it wrote to its standard output.

  Args:
    command: the program and its arguments.
    name: of what it does, for messages.
    given: on its standard input.
    timeout_s: after which it is ended.
    cwd: its folder.
    env: its environment; this process's own.

  Raises:
    InputError: it cannot be started, takes too long or fails; with what it
      said last.
  """
  program = os.fspath(command[0])
  try:
    child = subprocess.Popen(
      [sys.executable, "-I", "-S", "-c", _BECOME, str(os.getpid()), *command],
      stdin=subprocess.PIPE,
      stdout=subprocess.PIPE,
      stderr=subprocess.PIPE,
      cwd=cwd,
      env=env,
      process_group=0,
    )
  except OSError as error:
    raise errors.InputError(
      f"{name}: {program} cannot be started ({error.strerror}). End other "
      "programs, or check its path."
    ) from None
  try:
    out, told = child.communicate(given, timeout=timeout_s)
  except subprocess.TimeoutExpired:
    raise errors.InputError(
      f"{name}: {program} was ended after {timeout_s:g} s. Try it by hand, or "
      "use shorter clips."
    ) from None
  finally:
    _end(child)
  if child.returncode:
    raise errors.InputError(
      f"{name}: {program} {_how(child.returncode)}: {said(told or out)}. Try "
      "it by hand."
    )
  return out


def said(text: bytes) -> str:
  """Returns the end of what a program said, in one line."""
  words = " ".join(text.decode("utf-8", "replace").split())
  return words[-_SAID:].rstrip(".") or "it said nothing"


def _how(code: int) -> str:
  if code > 0:
    return f"ended with exit code {code}"
  try:
    return f"was ended by {signal.Signals(-code).name}"
  except ValueError:
    return f"was ended by signal {-code}"


def _end(child: subprocess.Popen) -> None:
  """Ends a child and those that it started, and closes its pipes."""
  if child.returncode is None:
    # Its group has its number, and lasts as long as it is not waited for; one
    # that has ended may have left others, who hold its pipes.
    os.killpg(child.pid, signal.SIGKILL)
  child.wait()
  for pipe in (child.stdin, child.stdout, child.stderr):
    pipe.close()
