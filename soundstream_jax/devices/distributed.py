"""Processes of a job and their one mesh: they start and stop together.

Every process runs every collective; only the writing of text is guarded by
`is_primary`.
"""

import json
import pathlib
import secrets
import socket
import time
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from absl import logging
from jax.experimental import multihost_utils
from jax.sharding import AxisType, Mesh

from soundstream_jax import config as config_lib
from soundstream_jax import errors
from soundstream_jax.devices import backend, board
from soundstream_jax.settings import mesh as mesh_lib

# The batch is split over both axes, parameters over the second.
AXES = ("data", "fsdp")

# What a network's file system may take to show what another host has written:
# NFS keeps what it knows of a folder for up to a minute.
SHARED_SECONDS = 75

# What process 0 may take for what the others wait for: it reads whole
# checkpoints, and waits for another job's sign of life. If it fails, it says so.
_PRIMARY_SECONDS = 3600
_SAY_SECONDS = 30


def make_mesh(mesh: config_lib.Mesh, devices=None) -> Mesh:
  """Returns a mesh with axes ("data", "fsdp").

  One process may use fewer devices than it has; several use all of them.

  Raises:
    InputError: the sizes do not fit the number of devices, or there are none
      of the kind that jax is told to use.
  """
  if devices is None:
    backend.check()
    devices = jax.devices()
  data, fsdp = mesh_lib.axes(mesh, len(devices), few=jax.process_count() == 1)
  # Auto axes: Explicit ones, the default, refuse ordinary gathers and STFTs.
  return jax.make_mesh(
    (data, fsdp),
    AXES,
    axis_types=(AxisType.Auto,) * 2,
    devices=devices[: data * fsdp],
  )


def is_primary() -> bool:
  """True in the one process that writes logs. Never guard a collective."""
  return board.process_id() == 0


def from_primary(find: Callable[[], Any]) -> Any:
  """Returns what process 0 finds, in every process; the others do not look.

  A file that several hosts read may differ between them for a while, and what
  they do must not.

  Args:
    find: returns JSON; called in process 0 alone.

  Raises:
    InputError: in every process, if `find` raises it.
    DiskError: likewise.
  """
  if board.num_processes() == 1:
    return find()
  name = board.folder("found")
  if is_primary():
    try:
      found = find()
    except (errors.InputError, errors.DiskError) as error:
      kind = type(error) if type(error) in _RAISED else errors.InputError
      board.post(name, json.dumps({kind.__name__: str(error)}))
      raise
    board.post(name, json.dumps({"found": found}))
    return found
  answer = json.loads(_answer(name))
  for kind in _RAISED:
    if kind.__name__ in answer:
      raise kind(answer[kind.__name__])
  return answer["found"]


def _answer(name: str) -> str:
  """Waits for a notice of process 0, and says so.

  Raises:
    DiskError: none comes.
  """
  for waited in range(0, _PRIMARY_SECONDS, _SAY_SECONDS):
    try:
      return board.wait_for(name, seconds=_SAY_SECONDS)
    except TimeoutError:
      logging.warning(
        "waiting for process 0, which looks at the shared folders for all: "
        "%d s",
        waited + _SAY_SECONDS,
      )
  raise errors.DiskError(
    f"process 0 has looked at the shared folders for {_PRIMARY_SECONDS} s and "
    "found no answer. Is the disk of --workdir or of the data reachable there? "
    "The same command resumes."
  )


_RAISED = (errors.InputError, errors.DiskError)


def wait_for_all(what: str) -> None:
  """Returns once every process is here; `what` names the place in errors."""
  if jax.process_count() > 1:
    multihost_utils.sync_global_devices(what)


def _appears(path: pathlib.Path) -> bool:
  """True once the file is there; a network's file system may take its time."""
  deadline = time.monotonic() + SHARED_SECONDS
  while not path.exists():
    if time.monotonic() > deadline:
      return False
    time.sleep(0.1)
  return True


def wait_until_seen(*paths: pathlib.Path) -> None:
  """Waits until this process sees what process 0 has seen.

  Raises:
    InputError: it does not, however long a network's file system may take.
  """
  for path in paths:
    if not _appears(path):
      raise errors.InputError(
        f"process {jax.process_index()} on {socket.gethostname()} does not "
        f"see {path}, which process 0 sees. Mount the same folder on all "
        "hosts."
      )


def check_shared(folder: pathlib.Path) -> None:
  """Proves that every process sees the same folder; creates it.

  Raises:
    InputError: in every process, where one of them does not.
    DiskError: likewise, where it cannot be created.
  """

  def write() -> str:
    with errors.writing("the run", folder):
      folder.mkdir(parents=True, exist_ok=True)
      proof = folder / f".seen-{secrets.token_hex(16)}"
      if jax.process_count() > 1:
        proof.touch()
    return proof.name

  proof = folder / from_primary(write)
  if jax.process_count() == 1:
    return
  seen = np.asarray(
    multihost_utils.process_allgather(np.asarray(_appears(proof)))
  )
  if is_primary():
    proof.unlink(missing_ok=True)
  if not np.all(seen):
    blind = ", ".join(map(str, np.flatnonzero(~seen)))
    raise errors.InputError(
      f"--workdir={folder}: process {blind} of {jax.process_count()} does not "
      "see what process 0 writes there. Use a folder that all hosts mount."
    )
