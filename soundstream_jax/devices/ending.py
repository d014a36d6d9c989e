"""How the processes of a job end: all of them, within seconds, with one code.

A process that fails says so on the board and ends; the others see it there,
name it and end too, wherever they are: they would wait for it for ever. One that
is killed says nothing; its peers are ended by jax when its heartbeat is missed.
"""

import contextlib
import json
import os
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable
from typing import NoReturn

import jax

from soundstream_jax import errors
from soundstream_jax.devices import board

# Between two looks at the board.
LOOK_SECONDS = 0.5
# Process 0 carries the board, so it stays until the others have looked.
_LINGER_SECONDS = 3.0
_NOTICE = "failed"
_LEFT = "left"

# In messages of the network when a peer is gone, whoever ended first.
_LOST_PEER = ("Connection closed by peer", "Connection reset by peer", "Gloo")


def watch() -> None:
  """Ends this process, from a thread, when another one says that it failed."""
  if board.num_processes() > 1:
    threading.Thread(target=_watch, name="ending", daemon=True).start()


def fail(
  error: BaseException, *, join: Callable[[int], None] | None = None
) -> NoReturn:
  """Ends this process because of an error, and with it the job.

  Bad input, files and disks are one line; anything else keeps its traceback.

  Args:
    error: that nobody has handled.
    join: joins a job that this process has not joined yet, so that the others
      do not wait for it; called with the exit code to come.
  """
  passing = errors.is_of_a_mount(error)
  error = errors.translated(error) or error
  text = " ".join(str(error).split()) or type(error).__name__
  several = board.num_processes() > 1
  lost = several and any(sign in text for sign in _LOST_PEER)
  if lost:
    # Another process is gone. If it says why, that is the line to end with.
    time.sleep(3 * LOOK_SECONDS)
  if isinstance(error, errors.InputError | errors.DiskError):
    code = errors.report(error)
    if passing:  # the next start may find it there again: launchers try
      code = 1
  elif lost:
    code = 1
    print(f"error: another process is lost: {text}", file=sys.stderr)
  else:
    code = 1
    text = f"{type(error).__name__}: {text}"
    traceback.print_exception(error)
  if join is not None and board.num_processes() == 1:
    with contextlib.suppress(errors.InputError):
      join(code)
  fail_with(code, text, lost=lost)


def fail_with(code: int, reason: str, *, lost: bool = False) -> NoReturn:
  """Ends this process with a code and the job with it, from any thread.

  Args:
    code: of this process and, as they see the notice, of the others.
    reason: one line, for their logs.
    lost: whether another process is what has gone wrong.
  """
  # In a thread: a process 0 that is stopped never answers.
  telling = threading.Thread(
    target=_tell, args=(code, reason, lost), daemon=True
  )
  telling.start()
  telling.join(timeout=2 * _LINGER_SECONDS)
  end(code)


def end(code: int) -> NoReturn:
  """Ends this process now, whatever its other threads are doing."""
  for stream in (sys.stdout, sys.stderr):
    with contextlib.suppress(OSError, ValueError):  # full or closed
      stream.flush()
  os._exit(code)


def _tell(code: int, reason: str, lost: bool) -> None:
  """Puts up the notice, unless there is one, and waits until others know."""
  if board.num_processes() == 1:
    return
  # Errors: the board is gone, so process 0 is, and the others know.
  with contextlib.suppress(jax.errors.JaxRuntimeError):
    if board.look(_NOTICE) is None:
      notice = {
        "process": board.process_id(),
        "host": socket.gethostname(),
        "code": code,
        "reason": reason[:1000],
        "lost": lost,
      }
      board.post(_NOTICE, json.dumps(notice))
    _leave()


def _watch() -> None:
  while True:
    time.sleep(LOOK_SECONDS)
    try:
      text = board.look(_NOTICE)
    except jax.errors.JaxRuntimeError:
      return  # the job is over, or process 0 is gone: jax ends this process
    if text is None:
      continue
    notice = json.loads(text)
    if notice["process"] != board.process_id():
      what = "has lost another one" if notice["lost"] else "ended"
      print(
        f"error: process {notice['process']} of {notice['host']} {what}: "
        f"{notice['reason']}",
        file=sys.stderr,
      )
      with contextlib.suppress(jax.errors.JaxRuntimeError):
        _leave()
      end(notice["code"])


def _leave() -> None:
  """Says that this process knows; process 0 waits until all others do."""
  board.post(f"{_LEFT}/{board.process_id()}", "")
  deadline = time.monotonic() + _LINGER_SECONDS
  while board.process_id() == 0 and time.monotonic() < deadline:
    if len(board.look_below(_LEFT)) == board.num_processes():
      return
    time.sleep(LOOK_SECONDS / 10)
