"""How a process joins its job: found by flags or environment, within a time."""

import os
import warnings
from collections.abc import Mapping

import jax

from soundstream_jax import errors
from soundstream_jax.devices import ending, waiting
from soundstream_jax.settings import training_flags

_ADDRESS = "JAX_COORDINATOR_ADDRESS"


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
  their environment, and a process on its own stays on its own. One that waits
  says for what; after `join_seconds` it ends with a line that says so.

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
      fit each other, process 0's host is unknown, or the environment says too
      little.
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
  with waiting.told(
    reason, coordinator, process_id, seconds=join_seconds, code=give_up_code
  ):
    if coordinator is not None:
      waiting.look_up("--coordinator", coordinator)
      if process_id == 0:
        waiting.until_free(coordinator)
    elif ":" in os.environ.get(_ADDRESS, ""):
      waiting.look_up(_ADDRESS, os.environ[_ADDRESS])
    try:
      with warnings.catch_warnings():
        # What is missing in a pod is said below, in one line.
        warnings.filterwarnings("ignore", "Kubernetes environment", UserWarning)
        jax.distributed.initialize(
          coordinator_address=coordinator,
          num_processes=num_processes,
          process_id=process_id,
          heartbeat_timeout_seconds=heartbeat_seconds,
          # Ours comes first: jax's ends the process with a page of addresses.
          initialization_timeout=join_seconds + 60,
        )
    except (ValueError, RuntimeError, LookupError, OSError) as error:
      raise _cannot_join(reason, error) from None
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
    _ADDRESS: environment.__contains__,
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
  if not (host and colon and port.isdecimal() and 0 < int(port) < 65_536):
    raise errors.InputError(
      f"--coordinator={coordinator} is not HOST:PORT, as in 10.0.0.1:1234, with a "
      "port from 1 to 65535."
    )
  return f"--coordinator={coordinator} --num_processes={num_processes}"


def _cannot_join(reason: str, error: Exception) -> errors.InputError:
  """Returns the line for a job that its environment describes in part."""
  name = reason.partition("=")[0]
  fix = (
    "Unset it for a process on its own, or give --coordinator, "
    "--num_processes and --process_id."
  )
  if name == "JOB_COMPLETION_INDEX":
    fix = (
      "In an indexed job of Kubernetes give --coordinator=JOB-0.SERVICE:1234 "
      "(a headless service), --num_processes=COMPLETIONS and "
      "--process_id=$(JOB_COMPLETION_INDEX), as soundstream_jax.launch.gke "
      "does; unset the variable for a pod on its own."
    )
  if name == _ADDRESS:
    fix = (
      "Set JAX_NUM_PROCESSES and JAX_PROCESS_ID beside it; unset it for a "
      "process on its own."
    )
  text = " ".join(str(error).split())
  return errors.InputError(
    f"{reason} says that this process is one of several, but it cannot join "
    f"them ({text.rstrip('.')}). {fix}"
  )
