"""Stacks: what every thread of this process is doing, appended to a file."""

import faulthandler
import os
import pathlib
import socket
import time

from soundstream_jax import errors

# A file that has grown beyond this begins anew.
_MOST_BYTES = 10_000_000


def append(path: pathlib.Path, reason: str) -> str:
  """Writes the stacks with time, host and reason; returns why it could not."""
  try:
    path.parent.mkdir(parents=True, exist_ok=True)
    grown = path.exists() and path.stat().st_size > _MOST_BYTES
    with open(path, "w" if grown else "a") as file:
      date = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime())
      who = f"{socket.gethostname()} process id {os.getpid()}"
      file.write(f"{date} {who}, {reason}\n")
      file.flush()
      faulthandler.dump_traceback(file, all_threads=True)
      file.write("\n")
  except OSError as error:
    return f"{error.strerror or error}; {errors.space(path.parent)}"
  return ""
