"""Processes of a job and their one mesh: they start and stop together.

Every process runs every collective; only the writing of text is guarded by
`is_primary`.
"""

import os
import pathlib
import secrets
import time
from collections.abc import Mapping

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import AxisType, Mesh

from soundstream_jax import config as config_lib
from soundstream_jax import errors
from soundstream_jax.settings import mesh as mesh_lib
from soundstream_jax.settings import training_flags

# The batch is split over both axes, parameters over the second.
AXES = ("data", "fsdp")

# What a network's file system may take to show what another host has written.
SHARED_SECONDS = 20


def initialize(
  *,
  coordinator: str | None = None,
  num_processes: int | None = None,
  process_id: int | None = None,
  heartbeat_seconds: int = training_flags.HEARTBEAT_SECONDS,
) -> None:
  """Joins the processes of a job; before any other call to jax.

  With nothing given, SLURM, Kubernetes, TPU and Open MPI are recognised by
  their environment, and a process on its own stays on its own.

  Args:
    coordinator: HOST:PORT of process 0.
    num_processes: of the whole job.
    process_id: of this process, from 0.
    heartbeat_seconds: after which a silent process is given up.

  Raises:
    InputError: some of the three are given and some are missing, or they do
      not fit each other.
  """
  given = {
    "--coordinator": coordinator,
    "--num_processes": num_processes,
    "--process_id": process_id,
  }
  missing = [name for name, value in given.items() if value is None]
  if missing and len(missing) < len(given):
    raise errors.InputError(
      f"{', '.join(missing)} is missing beside "
      f"{', '.join(name for name in given if name not in missing)}. Give all "
      "three, or none where the cluster says them."
    )
  if not missing:
    if not 0 <= process_id < num_processes:
      raise errors.InputError(
        f"--process_id={process_id} is not one of the "
        f"--num_processes={num_processes} processes. Use 0 to "
        f"{num_processes - 1}."
      )
    host, colon, port = coordinator.rpartition(":")
    if not (host and colon and port.isdecimal()):
      raise errors.InputError(
        f"--coordinator={coordinator} is not HOST:PORT, as in 10.0.0.1:1234."
      )
  elif not in_cluster(os.environ):
    return
  jax.distributed.initialize(
    coordinator_address=coordinator,
    num_processes=num_processes,
    process_id=process_id,
    heartbeat_timeout_seconds=heartbeat_seconds,
  )


def in_cluster(environment: Mapping[str, str]) -> bool:
  """True where the environment says that this process is one of several.

  The variables of an allocation are not enough: a shell or a notebook inside
  one has them too, and would wait for processes that nobody starts. So SLURM
  counts by the tasks of the step that `srun` made.
  """
  several = (
    _int(environment.get("SLURM_STEP_NUM_TASKS")) > 1,
    _int(environment.get("OMPI_COMM_WORLD_SIZE")) > 1,
    len(environment.get("TPU_WORKER_HOSTNAMES", "").split(",")) > 1,
    len(environment.get("TPU_PROCESS_ADDRESSES", "").split(",")) > 1,
    _int(environment.get("MEGASCALE_NUM_SLICES")) > 1,
    "JAX_COORDINATOR_ADDRESS" in environment,
    "JOB_COMPLETION_INDEX" in environment
    and "KUBERNETES_SERVICE_HOST" in environment,
  )
  return any(several)


def _int(text: str | None) -> int:
  return int(text) if text and text.isdecimal() else 0


def make_mesh(mesh: config_lib.Mesh, devices=None) -> Mesh:
  """Returns a mesh with axes ("data", "fsdp").

  One process may use fewer devices than it has; several use all of them.

  Raises:
    InputError: the sizes do not fit the number of devices.
  """
  devices = jax.devices() if devices is None else devices
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
  return jax.process_index() == 0


def stop_asked(step: int) -> bool:
  """True in all processes at the same step once one of them got SIGTERM.

  Every process of several asks before every step. jax keeps SIGTERM for this
  from `initialize` on: nobody else may handle it.
  """
  return multihost_utils.reached_preemption_sync_point(step)


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


def check_shared(folder: pathlib.Path) -> None:
  """Proves that every process sees the same folder; creates it.

  Raises:
    InputError: in every process, where one of them does not.
  """
  folder.mkdir(parents=True, exist_ok=True)
  if jax.process_count() == 1:
    return
  token = np.frombuffer(secrets.token_bytes(16), np.uint8)
  token = np.asarray(multihost_utils.broadcast_one_to_all(token), np.uint8)
  proof = folder / f".seen-{token.tobytes().hex()}"
  if is_primary():
    proof.touch()
  wait_for_all("workdir written")
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
