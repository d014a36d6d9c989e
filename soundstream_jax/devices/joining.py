"""How a process joins its job: found by flags or environment, within a time."""

import os
import threading
from collections.abc import Mapping

import jax

from soundstream_jax import errors
from soundstream_jax.devices import ending
from soundstream_jax.settings import training_flags


def initialize(
  *,
  coordinator: str | None = None,
  num_processes: int | None = None,
  process_id: int | None = None,
  heartbeat_seconds: int = training_flags.HEARTBEAT_SECONDS,
  join_seconds: int = training_flags.JOIN_SECONDS,
  give_up_code: int = 1,
) -> None:
  """Joins the processes of a job; before any other call to jax.

  With nothing given, SLURM, Kubernetes, TPU and Open MPI are recognised by
  their environment, and a process on its own stays on its own. One that has
  waited `join_seconds` for others ends with a line that says so.

  Args:
    coordinator: HOST:PORT of process 0.
    num_processes: of the whole job.
    process_id: of this process, from 0.
    heartbeat_seconds: after which a silent process is given up.
    join_seconds: after which a process that has not joined is given up.
    give_up_code: with which this process then ends. Not that of bad input: a
      node may be late, and comes the next time.

  Raises:
    InputError: some of the three are given and some are missing, they do not
      fit each other, or the environment says too little.
  """
  given = {
    "--coordinator": coordinator,
    "--num_processes": num_processes,
    "--process_id": process_id,
  }
  reason = _check(given)
  if reason is None and (reason := in_cluster(os.environ)) is None:
    return
  # Stops are agreed upon by train.preemption. jax's own way counts steps from
  # 1, which a resumed run never comes to, and takes SIGTERM for itself.
  jax.config.update("jax_enable_preemption_service", False)
  joined = threading.Event()
  threading.Thread(
    target=_give_up,
    args=(joined, join_seconds, reason, give_up_code),
    daemon=True,
  ).start()
  try:
    jax.distributed.initialize(
      coordinator_address=coordinator,
      num_processes=num_processes,
      process_id=process_id,
      heartbeat_timeout_seconds=heartbeat_seconds,
      # Ours comes first: jax's ends the process with a page of addresses.
      initialization_timeout=join_seconds + 60,
    )
  except (ValueError, RuntimeError, LookupError, OSError) as error:
    text = " ".join(str(error).split())
    raise errors.InputError(
      f"{reason} says that this process is one of several, but it cannot join "
      f"them ({text}). Unset it for a process on its own, or give "
      "--coordinator, --num_processes and --process_id."
    ) from None
  finally:
    joined.set()
  ending.watch()


def in_cluster(environment: Mapping[str, str]) -> str | None:
  """Returns NAME=VALUE of what says that this process is one of several.

  The variables of an allocation are not enough: a shell or a notebook inside
  one has them too, and would wait for processes that nobody starts. So SLURM
  counts by the tasks of the step that `srun` made.
  """

  def more_than_one(name: str) -> bool:
    text = environment.get(name, "")
    return text.isdecimal() and int(text) > 1

  def list_of_several(name: str) -> bool:
    return len(environment.get(name, "").split(",")) > 1

  several = {
    "SLURM_STEP_NUM_TASKS": more_than_one,
    "OMPI_COMM_WORLD_SIZE": more_than_one,
    "TPU_WORKER_HOSTNAMES": list_of_several,
    "TPU_PROCESS_ADDRESSES": list_of_several,
    "MEGASCALE_NUM_SLICES": more_than_one,
    "JAX_COORDINATOR_ADDRESS": environment.__contains__,
    "JOB_COMPLETION_INDEX": lambda name: (
      name in environment and "KUBERNETES_SERVICE_HOST" in environment
    ),
  }
  for name, says_so in several.items():
    if says_so(name):
      return f"{name}={environment[name]}"
  return None


def _check(given: Mapping[str, str | int | None]) -> str | None:
  """Checks the three flags; returns them as text, None where none is given.

  Raises:
    InputError: some are missing, or they do not fit each other.
  """
  missing = [name for name, value in given.items() if value is None]
  if len(missing) == len(given):
    return None
  if missing:
    raise errors.InputError(
      f"{', '.join(missing)} is missing beside "
      f"{', '.join(name for name in given if name not in missing)}. Give all "
      "three, or none where the cluster says them."
    )
  coordinator, num_processes, process_id = given.values()
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
  return f"--coordinator={coordinator} --num_processes={num_processes}"


def _give_up(
  joined: threading.Event, seconds: int, reason: str, code: int
) -> None:
  """Ends a process that has waited long enough; runs in a thread."""
  if not joined.wait(seconds):
    error = errors.InputError(
      f"{reason} says that this process is one of several, but they have not "
      f"found each other within --join_seconds={seconds}. Is the first one "
      "running, and reachable from here? Unset a variable that is left over "
      "from another job."
    )
    errors.report(error)
    ending.end(code)
