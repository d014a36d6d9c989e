"""The table of faults: what happens, where, and how a job may end.

A name is PROCESSES/WHAT/WHEN, with `resumed` where the job finds a checkpoint.
"""

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

from soundstream_jax import errors

# What the job does again by itself, from its last checkpoint.
RECOVERS = frozenset({0})
STOPS = frozenset({errors.EXIT_PREEMPTED})
NO_DISK = frozenset({errors.EXIT_DISK})
REFUSES = frozenset({errors.EXIT_BAD_INPUT})

BEFORE = "before"  # the moment of what is so from the beginning

# Phases that a fresh job comes through, and one that finds a checkpoint.
FRESH = ("start", "k-means", "compile", "step", "save", "evaluation", "end")
RESUMED = ("start", "restore", "compile", "step", "save", "evaluation", "end")

_KILLED = r"process {victim} ended first, killed by SIGKILL"
_ANY_KILLED = r"process \d ended first, killed by SIGKILL"
_DISK = r"error: .*could not be written to .*MB free"
_UNREADABLE = r"record \d+ of the split .*(cannot|could not) be read"
_STILL = r"(?i)(slowest|stands? still|stood still|stalled).*process {victim}\b"
_STILL += r"|(?i:process {victim}\b.*(slowest|stands? still|stood still|stuck))"
_STILL += r"|process {victim} does not (answer|end by itself)"


@dataclasses.dataclass(frozen=True)
class Fault:
  """One row of the table.

  Attributes:
    name: see the module.
    processes: of the job.
    phase: when, of `sitecustomize.PHASES`, or BEFORE.
    action: what, of `fault_actions.ACTIONS`.
    codes: exit codes that the job may end with. After any but 0 the same
      command has to finish the run once what was wrong is put right.
    named: a pattern that one line of the log matches; {victim} is the number of
      the process. None where there is nothing to tell, and no reason for the
      job to start again.
    sync: the process waits at the beginning of its phase until it is done.
    count: the phase's first, second, ... time; None draws it.
    steps: checkpoints that the job finds.
    damaged: those of them with a flipped byte.
    disk: 'full', 'read-only', and the same of 'logs' or from the 'start'.
    outside: what the benchmark does at the moment: '', 'SIGCONT' or 'copy'.
    details: more for `sitecustomize`.
    overrides: of the configuration.
    environment: of all processes.
    launched: by the launcher; else one process of its own.
    seconds: that the fault itself takes, beyond the time of a job.
  """

  name: str
  processes: int
  phase: str = BEFORE
  action: str = "wait outside"
  codes: frozenset[int] = RECOVERS
  named: str | None = None
  sync: bool = False
  count: int | None = None
  steps: tuple[int, ...] = ()
  damaged: tuple[int, ...] = ()
  disk: str = ""
  outside: str = ""
  details: Mapping[str, Any] = dataclasses.field(default_factory=dict)
  overrides: Mapping[str, Any] = dataclasses.field(default_factory=dict)
  environment: Mapping[str, str] = dataclasses.field(default_factory=dict)
  launched: bool = True
  seconds: float = 0.0


def faults() -> list[Fault]:
  """Returns the whole table."""
  found = [
    *_kills(),
    *_stops(),
    *_disks(),
    *_reads(),
    *_workdirs(),
    *_environments(),
    *_clocks(),
  ]
  assert len({fault.name for fault in found}) == len(found)
  return found


def _name(processes: int, what: str, when: str, steps=()) -> str:
  return f"{processes}/{what}/{when}" + ("/resumed" if steps else "")


def _kills() -> Iterator[Fault]:
  everywhere = ("import", *FRESH[:2], "restore", *FRESH[2:])
  for processes, what, phases in (
    (1, "kill", everywhere),
    (2, "kill one", everywhere[1:]),
    (2, "kill all", ("start", "restore", "step", "save", "end")),
    (4, "kill one", ("compile", "step", "save")),
    (4, "kill all", ("restore", "step")),
  ):
    for phase in phases:
      steps = (8,) if phase == "restore" else ()
      everyone = what == "kill all"
      yield Fault(
        _name(processes, what, phase, steps),
        processes,
        phase,
        "kill all" if everyone else "kill",
        named=_ANY_KILLED if everyone else _KILLED,
        steps=steps,
      )
  # Saves by the clock alone: what is lost does not depend on every_steps.
  for processes in (1, 2):
    yield Fault(
      _name(processes, "kill", "step, saved every 2 s"),
      processes,
      "step",
      "kill",
      named=r"resuming .* at step [1-9]",
      count=20,
      details={"step_seconds": 0.3},
      overrides={"checkpoint.every_steps": 1000, "checkpoint.every_seconds": 2},
    )


def _stops() -> Iterator[Fault]:
  own, launcher = "{} to one", "{} to the launcher"
  for processes, signal, who, fresh, resumed in (
    (1, "SIGTERM", own, FRESH, ("start", "restore", "compile")),
    (1, "SIGINT", own, ("compile", "end"), ("restore",)),
    (1, "SIGTERM", launcher, ("import", "k-means"), ("evaluation",)),
    (1, "SIGINT", launcher, ("step",), ("restore",)),
    (2, "SIGTERM", own, FRESH, ("start", "restore", "compile")),
    (2, "SIGINT", own, ("k-means",), ("compile",)),
    (2, "SIGTERM", launcher, ("start",), ("restore",)),
    (2, "SIGINT", launcher, ("import", "save"), ()),
    (4, "SIGTERM", own, ("compile", "evaluation"), ("restore",)),
    (4, "SIGINT", launcher, ("step",), ()),
  ):
    for phase, steps in (
      *((phase, ()) for phase in fresh),
      *((phase, (8,)) for phase in resumed),
    ):
      yield Fault(
        _name(processes, who.format(signal), phase, steps),
        processes,
        phase,
        signal if who is own else launcher.format(signal),
        # After its last step a job may as well be done.
        codes=STOPS | RECOVERS if phase == "end" else STOPS,
        named=(
          None
          if phase == "end"
          else r"SIG(TERM|INT)|asked to stop|ended first, with exit code 75"
        ),
        steps=steps,
      )


def _disks() -> Iterator[Fault]:
  for processes, disk, phase in (
    (1, "full", "save"),
    (2, "full", "save"),
    (1, "full", BEFORE),
    (1, "read-only", "save"),
    (1, "read-only", BEFORE),
  ):
    yield Fault(
      _name(processes, f"{disk} disk", phase),
      processes,
      phase,
      codes=NO_DISK if phase == "save" else NO_DISK | REFUSES,
      named=_DISK if phase == "save" else r"error: .*(?i:space|free|read-only)",
      count=2,
      sync=True,
      disk=disk,
    )
  for disk, phase in (("full", "step"), ("read-only", BEFORE)):
    yield Fault(
      _name(1, f"{disk} disk of logs", phase),
      1,
      phase,
      named=r"(?i)(metrics|logs?|tensorboard).*(space|full|read-only)",
      count=5,
      sync=True,
      disk=f"{disk} logs",
      overrides={"logging.tensorboard": True},
    )


def _reads() -> Iterator[Fault]:
  for processes in (1, 2):
    for action, codes, named in (
      ("fail once", RECOVERS | REFUSES | NO_DISK, _UNREADABLE),
      ("fail always", REFUSES | NO_DISK, _UNREADABLE),
      ("hang", RECOVERS, _STILL),
    ):
      hangs = action == "hang"
      yield Fault(
        _name(processes, "read", action),
        processes,
        "read",
        action,
        codes=codes,
        named=named,
        sync=True,
        overrides={"watchdog_abort": True} if hangs else {},
        seconds=75 if hangs else 0,
      )


def _workdirs() -> Iterator[Fault]:
  damaged = r"the checkpoint of step {damaged} is damaged: .* has changed"
  for processes, steps in ((1, (8, 16)), (2, (8, 16)), (1, (8,))):
    yield Fault(
      _name(processes, "flipped byte", f"{'newest' if steps[1:] else 'only'}"),
      processes,
      named=damaged,
      steps=steps,
      damaged=steps[-1:],
    )
  for processes in (1, 2):
    yield Fault(
      _name(processes, "second copy", "step"),
      processes,
      "step",
      named=r"error: .*\bprocess {pid} of {host}\b",
      count=5,
      sync=True,
      outside="copy",
      seconds=75,
    )
  yield Fault(
    _name(2, "older content", "start", (8,)),
    2,
    "start",
    "older content",
    steps=(8, 16),
    details={"seconds": 4},
  )


def _environments() -> Iterator[Fault]:
  slurm = {
    "SLURM_JOB_ID": "123",
    "SLURM_STEP_NUM_TASKS": "2",
    "SLURM_NTASKS": "2",
    "SLURM_PROCID": "1",
    "SLURM_LOCALID": "0",
    "SLURM_STEP_NODELIST": "none-such",
  }
  ompi = {
    "OMPI_MCA_orte_hnp_uri": "1234.0;tcp://10.255.255.1:4321",
    "OMPI_COMM_WORLD_SIZE": "2",
    "OMPI_COMM_WORLD_RANK": "1",
    "OMPI_COMM_WORLD_LOCAL_RANK": "0",
  }
  address = {"JAX_COORDINATOR_ADDRESS": "127.0.0.1:1"}
  whole = {"JAX_NUM_PROCESSES": "2", "JAX_PROCESS_ID": "1", **address}
  for what, variables, processes in (
    ("coordinator", address, (1, 2)),
    ("SLURM", slurm, (1,)),
    ("OMPI", ompi, (1,)),
  ):
    for number in processes:
      yield Fault(_name(number, "stale", what), number, environment=variables)
  # A process of its own has nobody to tell it what is so.
  for what, variables, pattern in (
    ("coordinator", address, "JAX_COORDINATOR_ADDRESS"),
    ("coordinator of two", whole, r"JAX_COORDINATOR_ADDRESS|127\.0\.0\.1:1"),
    ("SLURM", slurm, "SLURM"),
  ):
    yield Fault(
      _name(1, "stale", f"{what}, no launcher"),
      1,
      # 1: nobody came, but may come the next time.
      codes=RECOVERS | REFUSES | {1},
      named=f"(error|warning): .*({pattern})",
      environment=variables,
      launched=False,
    )


def _clocks() -> Iterator[Fault]:
  for processes in (2, 4):
    yield Fault(
      _name(processes, "SIGSTOP", "step"),
      processes,
      "step",
      "SIGSTOP",
      named=_STILL + r"|task:{victim}\b",
      seconds=30,
    )
  for processes, phase in ((1, "step"), (2, "save")):
    yield Fault(
      _name(processes, "SIGSTOP and SIGCONT", phase),
      processes,
      phase,
      "SIGSTOP",
      outside="SIGCONT",
      seconds=5,
    )
  for processes, seconds in ((1, 3600), (1, -3600), (2, -3600)):
    way = "forward" if seconds > 0 else "back"
    yield Fault(
      _name(processes, "clock", f"an hour {way}"),
      processes,
      "step",
      "jump",
      details={"seconds": seconds},
    )
