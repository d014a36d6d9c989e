"""Who writes into a workdir: one job at a time, named in running.json.

    WORKDIR/running.json     host, process, job, time of the one that writes

The holder writes it anew every ten seconds. Another job that comes upon it looks
whether that process lives, where it can be seen from here; elsewhere it waits
for a sign of life, and takes over when there is none, as a requeued job must.
A holder that finds another's name in its place ends.
"""

import contextlib
import json
import os
import pathlib
import socket
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from absl import logging

from soundstream_jax import errors, whole_files

NAME = "running.json"
RENEW_SECONDS = 10.0
# As long as a holder may be silent. Not its clock counts, but what changes.
SILENT_SECONDS = 60.0
# In which a holder that is to be replaced notices it, and ends.
_YIELD_SECONDS = 30.0
_LOOK_SECONDS = 0.5

# Of the job that a scheduler runs, for messages.
_JOBS = ("SLURM_JOB_ID", "JOBSET_NAME", "JOB_NAME")


class Holder:
  """Holds a workdir, from `claim` to `release`."""

  def __init__(self, workdir, *, on_lost: Callable[[str], None]):
    """Args: on_lost is told, in a thread, that another job took over."""
    self._path = pathlib.Path(workdir).absolute() / NAME
    self._on_lost = on_lost
    self._me = identity()
    self._released = threading.Event()
    self._renewing: threading.Thread | None = None

  def claim(self, *, take_over: bool = False) -> None:
    """Takes the workdir, or waits until it is free to be taken.

    Args:
      take_over: takes it from a holder that lives; that one ends.

    Raises:
      InputError: another job writes there.
      DiskError: nothing can be written there.
    """
    other = _read(self._path)
    if other is not None and not _same(other, self._me):
      if take_over:
        logging.warning("taking over from %s", describe(other))
      elif _lives(other, self._path):
        raise errors.InputError(
          f"{self._path.parent} is written by {describe(other)}. Wait for it or "
          "stop it, use another --workdir, or --take_over: that one then ends."
        )
      else:
        logging.warning("%s is gone: taking over", describe(other))
    with errors.writing(NAME, self._path.parent):
      self._write()
    if take_over and other is not None:
      _wait_until_gone(other)
    # Of two that came at once, the later one's name stays.
    time.sleep(_LOOK_SECONDS / 5)
    now = _read(self._path)
    if now is not None and not _same(now, self._me):
      raise errors.InputError(
        f"{self._path.parent} has just been taken by {describe(now)}. Wait for "
        "it or stop it, or use another --workdir."
      )
    self._renewing = threading.Thread(
      target=self._renew, name="holder", daemon=True
    )
    self._renewing.start()

  def release(self) -> None:
    """Gives the workdir back, if it is still this process's."""
    self._released.set()
    if self._renewing is None:
      return
    self._renewing.join(timeout=5)
    now = _read(self._path)
    if now is not None and _same(now, self._me):
      with contextlib.suppress(OSError):  # whoever comes next sees it is over
        self._path.unlink()

  def _renew(self) -> None:
    while not self._released.wait(RENEW_SECONDS):
      now = _read(self._path)
      if now is not None and not _same(now, self._me):
        self._on_lost(f"{self._path.parent} was taken over by {describe(now)}")
        return
      try:
        self._write()
      except OSError:
        # A full disk: the older file gets a newer date, which takes no space.
        with contextlib.suppress(OSError):
          os.utime(self._path)

  def _write(self) -> None:
    text = json.dumps(self._me | {"time": round(time.time(), 3)}) + "\n"
    with whole_files.replacing(self._path) as partial:
      partial.write_text(text)


def holds(workdir) -> dict[str, Any] | None:
  """Returns who writes a workdir, as far as one look tells; None: nobody.

  A holder elsewhere counts while its file is young.
  """
  path = pathlib.Path(workdir) / NAME
  record = _read(path)
  if record is None:
    return None
  lives = is_alive(record)
  if lives is None:
    try:
      lives = time.time() - path.stat().st_mtime < SILENT_SECONDS
    except OSError:
      lives = False
  return record if lives else None


def is_alive(record: Mapping[str, Any]) -> bool | None:
  """Whether the process of `identity` lives; None: it is not seen from here."""
  return _is_running(record) if _is_near(record) else None


def describe(record: Mapping[str, Any]) -> str:
  """Names a holder."""
  job = f", job {record['job']}" if record.get("job") else ""
  return f"process {record.get('process')} of {record.get('host')}{job}"


def identity(process: int | None = None) -> dict[str, Any]:
  """Returns what tells a process from all others; default this one."""
  process = os.getpid() if process is None else process
  job = next((os.environ[n] for n in _JOBS if os.environ.get(n)), "")
  return {
    "host": socket.gethostname(),
    "process": process,
    "job": job,
    # Numbers of processes are given again; containers count from 1.
    "started": _started(process),
    "system": _system(),
  }


def _same(record: Mapping[str, Any], me: Mapping[str, Any]) -> bool:
  names = ("host", "process", "started", "system")
  return all(record.get(name) == me[name] for name in names)


def _read(path: pathlib.Path) -> dict[str, Any] | None:
  """Returns the record; None without one, or with one that says nothing."""
  try:
    found = json.loads(path.read_text())
  except (OSError, ValueError):
    return None
  return found if isinstance(found, dict) else None


def _lives(record: Mapping[str, Any], path: pathlib.Path) -> bool:
  """Whether a holder lives; waits where only its signs can be seen."""
  if _is_near(record):
    return _is_running(record)
  seen = _signs(path)
  logging.warning(
    "waiting up to %.0f s for a sign of life of %s",
    SILENT_SECONDS,
    describe(record),
  )
  deadline = time.monotonic() + SILENT_SECONDS
  while time.monotonic() < deadline:
    time.sleep(_LOOK_SECONDS)
    if not path.exists():
      return False  # it has ended meanwhile
    if _signs(path) != seen:
      return True
  return False


def _wait_until_gone(record: Mapping[str, Any]) -> None:
  """Waits until a holder has noticed that it was replaced, and ended."""
  deadline = time.monotonic() + _YIELD_SECONDS
  while time.monotonic() < deadline:
    if _is_near(record) and not _is_running(record):
      return
    time.sleep(_LOOK_SECONDS)


def _signs(path: pathlib.Path) -> tuple[str, int]:
  """Returns what a holder's renewal changes."""
  try:
    return path.read_text(), path.stat().st_mtime_ns
  except OSError:
    return "", 0


def _is_near(record: Mapping[str, Any]) -> bool:
  """Whether the process, if it lives, can be seen from here."""
  near = record.get("host") == socket.gethostname()
  return near and record.get("system") == _system()


def _is_running(record: Mapping[str, Any]) -> bool:
  process = record.get("process")
  if not isinstance(process, int) or process <= 0:
    return False
  try:
    os.kill(process, 0)
  except ProcessLookupError:
    return False
  except PermissionError:
    pass  # another user's
  return _started(process) == record.get("started")


def _started(process: int) -> int | None:
  """Returns when a process began, in ticks; None where it is not told."""
  try:
    stat = pathlib.Path(f"/proc/{process}/stat").read_text()
  except OSError:
    return None
  # Behind the name, which may hold anything: state, parent, ...; field 22.
  state, *fields = stat.rpartition(")")[2].split()
  return None if state == "Z" else int(fields[18])


def _system() -> str:
  """Names the boot of this machine and the container that counts processes."""
  try:
    boot = pathlib.Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return f"{boot} {os.readlink('/proc/self/ns/pid')}"
  except OSError:
    return ""
