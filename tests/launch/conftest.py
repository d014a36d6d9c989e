"""A SLURM of two nodes on this machine, for as long as a test module runs.

It has its own munge, its own ports and its own folder, so that it meets no
other SLURM, and runs as whoever runs the tests.
"""

import getpass
import os
import pathlib
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time

import pytest

from benchmarks.faults import background_job

NEEDED = ("slurmctld", "slurmd", "srun", "sbatch", "munged")
# Debian puts daemons where an ordinary user's PATH does not look.
PATH = f"{os.environ['PATH']}:/usr/sbin:/sbin"

# Jobs of `high` preempt those of `low`, which get a minute to save. A requeued
# job waits until its old credential has expired, two minutes by default. JAX's
# coordinator is the first node by its name, which has to resolve: it is that of
# this machine.
CONFIGURATION = """\
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=5
ProctrackType=proctrack/pgid
TaskPlugin=task/none
MpiDefault=none
SwitchType=switch/none
ReturnToService=2
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmdSpoolDir={folder}/spool-%n
StateSaveLocation={folder}/state
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=2,bf_interval=2
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SlurmdParameters=config_overrides
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
KillWait=5
NodeName={host} NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[1]} CPUs=2
NodeName={host}-2 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[2]} CPUs=2
PartitionName=low Nodes=ALL Default=YES PriorityTier=1 GraceTime=60
PartitionName=high Nodes=ALL PriorityTier=2 PreemptMode=OFF
"""


class Slurm:
  """The cluster as its user sees it."""

  def __init__(self, folder: pathlib.Path):
    self.folder = folder
    self.environment = {
      # Inside of another cluster's job its variables would reach ours.
      **{k: v for k, v in os.environ.items() if not k.startswith("SLURM_")},
      "PATH": PATH,
      "SLURM_CONF": str(folder / "slurm.conf"),
      "JAX_PLATFORMS": "cpu",
      "XLA_FLAGS": background_job.QUICK_COMPILATION,
    }

  def run(self, *command, check=True, timeout=120, **options):
    done = subprocess.run(
      [str(word) for word in command],
      env=self.environment,
      capture_output=True,
      text=True,
      timeout=timeout,
      check=False,
      **options,
    )
    if check:
      assert done.returncode == 0, f"{done.stderr}\n{self.logs()}"
    return done

  def job(self, number: int) -> dict[str, str]:
    """Returns what `scontrol show job` says, field -> value."""
    shown = self.run("scontrol", "--oneliner", "show", "job", number).stdout
    return dict(w.split("=", 1) for w in shown.split() if "=" in w)

  def wait(self, condition, *, what: str, seconds: float = 240) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
      assert time.monotonic() < deadline, f"{what}\n{self.logs()}"
      time.sleep(0.2)

  def logs(self) -> str:
    return "\n".join(
      f"--- {path.name}\n{path.read_text()[-2000:]}"
      for path in sorted(self.folder.glob("*.log"))
    )


def _free_ports(count: int) -> list[int]:
  with_ports = [socket.socket() for _ in range(count)]
  try:
    for one in with_ports:
      one.bind(("127.0.0.1", 0))
    return [one.getsockname()[1] for one in with_ports]
  finally:
    for one in with_ports:
      one.close()


def _host() -> str:
  return socket.gethostname().split(".")[0]


def _configure(folder: pathlib.Path) -> None:
  # A socket's path has at most 108 characters, and all may pass through.
  folder.chmod(0o755)
  (folder / "state").mkdir()
  key = folder / "munge.key"
  key.write_bytes(secrets.token_bytes(1024))
  key.chmod(0o400)
  (folder / "slurm.conf").write_text(
    CONFIGURATION.format(
      folder=folder,
      host=_host(),
      ports=_free_ports(3),
      user=getpass.getuser(),
    )
  )


def _daemons(folder: pathlib.Path) -> list[list[str]]:
  configuration = str(folder / "slurm.conf")
  return [
    [
      "munged",
      "--foreground",
      f"--socket={folder}/munge.socket",
      f"--key-file={folder}/munge.key",
      f"--pid-file={folder}/munged.pid",
      f"--log-file={folder}/munged.log",
      f"--seed-file={folder}/munged.seed",
    ],
    ["slurmctld", "-D", "-f", configuration],
    ["slurmd", "-D", "-f", configuration, "-N", _host()],
    ["slurmd", "-D", "-f", configuration, "-N", f"{_host()}-2"],
  ]


PRESET = """\
from soundstream_jax import config
def get_config():
  c = config.load("tiny")
  with c.ignore_type():
    c.update_from_flattened_dict({values!r})
  return c
"""


@pytest.fixture(scope="session")
def sweep_preset(small_overrides, tmp_path_factory):
  """A file of the small model's preset, whose programs are compiled once."""
  folder = tmp_path_factory.mktemp("preset")
  values = small_overrides | {"compilation_cache": str(folder / "cache")}
  (folder / "small.py").write_text(PRESET.format(values=values))
  return folder / "small.py"


@pytest.fixture(scope="module")
def slurm():
  missing = [name for name in NEEDED if shutil.which(name, path=PATH) is None]
  if missing:
    pytest.skip(f"SLURM is not installed: no {', '.join(missing)}")
  # pytest's own folders have paths too long for a socket.
  folder = pathlib.Path(tempfile.mkdtemp(prefix="slurm-"))
  _configure(folder)
  cluster = Slurm(folder)
  started = []
  try:
    for command in _daemons(folder):
      log = (folder / f"{len(started)}-{command[0]}.log").open("w")
      with log:
        started.append(
          subprocess.Popen(
            command, env=cluster.environment, stdout=log, stderr=log
          )
        )
      if command[0] == "munged":
        socket_file = folder / "munge.socket"
        cluster.wait(socket_file.exists, what="munge", seconds=20)

    def ready():
      shown = cluster.run("sinfo", "-h", "-N", "-p", "low", check=False).stdout
      return shown.count("idle") == 2

    cluster.wait(ready, what="two idle nodes", seconds=60)
    yield cluster
    # Jobs end before the daemons that watch over them.
    cluster.run("scancel", "--user", getpass.getuser(), check=False)
    cluster.run("scancel", "-f", "-u", getpass.getuser(), check=False)
    cluster.wait(
      lambda: not cluster.run("squeue", "-h").stdout, what="no jobs", seconds=60
    )
  finally:
    _stop(started)
    shutil.rmtree(folder, ignore_errors=True)


def _stop(started: list[subprocess.Popen]) -> None:
  for process in reversed(started):
    process.send_signal(signal.SIGTERM)
    try:
      process.wait(timeout=20)
    except subprocess.TimeoutExpired:
      process.kill()
      process.wait()
