"""A notice board of the job: short texts by name, seen by all its processes.

jax's coordination service carries it, which process 0 runs, so it works while
a process computes, compiles or waits, from any thread. A process on its own has
a board of its own.
"""

import itertools
import threading
import time

import jax
from jax._src import distributed  # jax has no public way to its service

_PREFIX = "soundstream_jax/"
# Between two looks at a board of one process.
_LOOK_SECONDS = 0.02

_own: dict[str, str] = {}
_own_lock = threading.Lock()
_folders = itertools.count()


def num_processes() -> int:
  """Returns how many have joined the job; no device is touched."""
  return distributed.global_state.num_processes or 1


def process_id() -> int:
  """Returns this process's number; no device is touched."""
  return distributed.global_state.process_id or 0


def coordinator() -> str | None:
  """Returns HOST:PORT of process 0, once jax knows it, joined or not."""
  return distributed.global_state.coordinator_address


def folder(name: str) -> str:
  """Returns a folder that no notice is in, the same in all processes.

  They must all ask for the same folders in the same order.
  """
  return f"{name}/{next(_folders)}"


def post(name: str, text: str) -> None:
  """Puts up a notice, over an older one of that name."""
  client = _client()
  if client is None:
    with _own_lock:
      _own[name] = text
  else:
    client.key_value_set(_PREFIX + name, text, allow_overwrite=True)


def look(name: str) -> str | None:
  """Returns a notice; None where there is none."""
  client = _client()
  if client is None:
    return _own.get(name)
  try:
    return client.key_value_try_get(_PREFIX + name)
  except jax.errors.JaxRuntimeError as error:
    if "NOT_FOUND" in str(error):
      return None
    raise


def look_below(folder: str) -> dict[str, str]:
  """Returns the notices called FOLDER/..., by what stands behind the slash."""
  client = _client()
  if client is None:
    with _own_lock:
      found = list(_own.items())
    start = f"{folder}/"
    return {k[len(start) :]: v for k, v in found if k.startswith(start)}
  found = client.key_value_dir_get(f"{_PREFIX}{folder}/")
  return {name.rpartition(f"{folder}/")[2]: text for name, text in found}


def wait_for(name: str, *, seconds: float) -> str:
  """Returns a notice as soon as it is there.

  Raises:
    TimeoutError: it is not there after so many seconds.
  """
  client = _client()
  if client is not None:
    try:
      return client.blocking_key_value_get(_PREFIX + name, int(seconds * 1000))
    except jax.errors.JaxRuntimeError as error:
      if "DEADLINE_EXCEEDED" not in str(error):
        raise
      raise TimeoutError(f"no {name} within {seconds:g} s") from None
  deadline = time.monotonic() + seconds
  while (text := look(name)) is None:
    if time.monotonic() > deadline:
      raise TimeoutError(f"no {name} within {seconds:g} s")
    time.sleep(_LOOK_SECONDS)
  return text


def clear() -> None:
  """Takes down all notices of a process on its own; of a job, none."""
  with _own_lock:
    _own.clear()


def _client():
  return distributed.global_state.client
