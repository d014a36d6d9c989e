"""Bad input from a user: one line, exit code 2, nothing lost.

A value that a person typed (a flag, a path, a file) is checked where it enters
and reported by `InputError`, whose message is one whole line: what, where, the
value, the fix. `run` turns it into that line and exit code 2 at the edge of
every command. Anything else is our own bug and keeps its traceback.
"""

import difflib
import sys
from collections.abc import Callable, Iterable

# Exit codes beside 0; launchers tell them apart.
EXIT_BAD_INPUT = 2
EXIT_PREEMPTED = 75
EXIT_BAD_STEPS = 76


class InputError(ValueError):
  """A user's value cannot be used; the message says what to type instead."""


def nearest(name: str, known: Iterable[str]) -> str:
  """Returns " Did you mean 'x'?" for the closest known name, or ""."""
  matches = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
  return f" Did you mean {matches[0]!r}?" if matches else ""


def check_mounted(name: str, path: str) -> None:
  """Refuses a bucket's address: files are read and written as files.

  Raises:
    InputError: `path` is a URL, with the way to mount it.
  """
  scheme, found, rest = str(path).partition("://")
  if not found:
    return
  bucket = rest.split("/")[0] or "BUCKET"
  raise InputError(
    f"{name}={path} is an address, not a folder. Mount it "
    f"(gcsfuse {bucket} /mnt/{bucket}, or a CSI volume) and use "
    f"{name}=/mnt/{rest}."
    if scheme == "gs"
    else f"{name}={path} is an address, not a folder. Mount it and use the "
    "folder's path."
  )


def report(error: Exception) -> int:
  """Prints the error as one line on stderr; returns the exit code 2."""
  line = " ".join(str(error).split())
  print(f"error: {line}", file=sys.stderr, flush=True)
  return EXIT_BAD_INPUT


def run(main: Callable[..., int | None], *args) -> int:
  """Calls main(*args); an InputError becomes one line and exit code 2."""
  try:
    return main(*args) or 0
  except InputError as error:
    return report(error)
