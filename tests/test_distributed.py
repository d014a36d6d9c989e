"""Who joins whom: what the environment says, and what flags may say."""

import os
import subprocess
import sys

import jax
import pytest

from soundstream_jax import errors
from soundstream_jax.devices import joining
from soundstream_jax.settings import training_flags

ALLOCATION = {
  "SLURM_JOB_ID": "7",
  "SLURM_JOB_NODELIST": "n[0-1]",
  "SLURM_NTASKS": "2",
  "SLURM_PROCID": "0",
  "SLURM_LOCALID": "0",
}
STEP = {**ALLOCATION, "SLURM_STEP_NODELIST": "n[0-1]"}
POD = {"KUBERNETES_SERVICE_HOST": "10.0.0.1"}

ALONE = {
  "a laptop": {},
  "the shell of salloc": ALLOCATION,
  "the script of sbatch": {**ALLOCATION, "SLURM_JOB_NAME": "job"},
  "one task of srun": {
    **STEP,
    "SLURM_NTASKS": "1",
    "SLURM_STEP_NUM_TASKS": "1",
  },
  "an interactive step": {**STEP, "SLURM_STEP_NUM_TASKS": "1"},
  "a step that says nonsense": {**STEP, "SLURM_STEP_NUM_TASKS": "two"},
  "mpirun -n 1": {"OMPI_COMM_WORLD_SIZE": "1"},
  "a TPU VM of one host": {"TPU_WORKER_HOSTNAMES": "localhost"},
  "one slice": {"MEGASCALE_NUM_SLICES": "1"},
  "a notebook in Kubernetes": POD,
  "an index outside Kubernetes": {"JOB_COMPLETION_INDEX": "0"},
}

SEVERAL = {
  "two tasks of srun": {**STEP, "SLURM_STEP_NUM_TASKS": "2"},
  "mpirun -n 2": {"OMPI_COMM_WORLD_SIZE": "2"},
  "GKE with TPUs": {"TPU_WORKER_HOSTNAMES": "a,b"},
  "TPU processes": {"TPU_PROCESS_ADDRESSES": "a:1,b:1"},
  "slices": {"MEGASCALE_NUM_SLICES": "2"},
  "a coordinator": {"JAX_COORDINATOR_ADDRESS": "127.0.0.1:1"},
  "an indexed job": {**POD, "JOB_COMPLETION_INDEX": "0"},
}


@pytest.fixture
def calls(monkeypatch):
  """The arguments of every call of jax.distributed.initialize."""
  seen = []
  monkeypatch.setattr(
    jax.distributed, "initialize", lambda **given: seen.append(given)
  )
  for name in list(os.environ):
    if name.startswith(
      ("SLURM_", "OMPI_", "TPU_", "MEGASCALE_", "KUBERNETES_")
    ):
      monkeypatch.delenv(name)
  for name in ("JAX_COORDINATOR_ADDRESS", "JOB_COMPLETION_INDEX"):
    monkeypatch.delenv(name, raising=False)
  return seen


@pytest.mark.parametrize("place", ALONE)
def test_a_process_on_its_own_joins_nobody(place, calls, monkeypatch):
  assert not joining.in_cluster(ALONE[place])
  for name, value in ALONE[place].items():
    monkeypatch.setenv(name, value)
  joining.initialize()
  assert calls == []


@pytest.mark.parametrize("place", SEVERAL)
def test_one_of_several_lets_jax_find_the_others(place, calls, monkeypatch):
  assert joining.in_cluster(SEVERAL[place])
  for name, value in SEVERAL[place].items():
    monkeypatch.setenv(name, value)
  joining.initialize(heartbeat_seconds=7)
  assert calls == [
    {
      "coordinator_address": None,
      "num_processes": None,
      "process_id": None,
      "heartbeat_timeout_seconds": 7,
      "initialization_timeout": training_flags.JOIN_SECONDS + 60,
    }
  ]


def test_flags_go_before_the_environment(calls, monkeypatch):
  for name, value in ALLOCATION.items():
    monkeypatch.setenv(name, value)
  joining.initialize(coordinator="10.0.0.1:1234", num_processes=1, process_id=0)
  (given,) = calls
  assert given["coordinator_address"] == "10.0.0.1:1234"
  assert (given["num_processes"], given["process_id"]) == (1, 0)


@pytest.mark.parametrize(
  ("flags", "line"),
  [
    (
      {"coordinator": "a:1"},
      "--num_processes, --process_id is missing beside --coordinator.",
    ),
    (
      {"num_processes": 2, "process_id": 0},
      "--coordinator is missing beside --num_processes, --process_id.",
    ),
    (
      {"coordinator": "a:1", "num_processes": 2, "process_id": 2},
      "--process_id=2 is not one of the --num_processes=2 processes.",
    ),
    (
      {"coordinator": "a:1", "num_processes": 2, "process_id": -1},
      "--process_id=-1 is not one of",
    ),
    (
      {"coordinator": "a:1", "num_processes": 0, "process_id": 0},
      "--process_id=0 is not one of the --num_processes=0",
    ),
    *(
      (
        {"coordinator": address, "num_processes": 2, "process_id": 0},
        f"--coordinator={address} is not HOST:PORT",
      )
      for address in ("a", "a:", ":1", "a:b", "")
    ),
  ],
)
def test_flags_that_do_not_fit_are_refused(flags, line, calls):
  with pytest.raises(errors.InputError) as error:
    joining.initialize(**flags)
  assert str(error.value).startswith(line)
  assert calls == []


JOIN = """
from soundstream_jax.devices import joining
joining.initialize()
import jax
print(jax.process_count())
"""


def test_training_in_the_shell_of_an_allocation_does_not_wait_for_others():
  done = subprocess.run(
    [sys.executable, "-c", JOIN],
    env={**os.environ, **ALLOCATION, "JAX_PLATFORMS": "cpu"},
    capture_output=True,
    text=True,
    timeout=60,
    check=False,
  )
  assert (done.returncode, done.stdout.strip()) == (0, "1"), done.stderr
