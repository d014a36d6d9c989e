"""One point at work: training, and once that has ended well, evaluation.

Each is one of the project's commands, a process that ends with this one.
"""

import contextlib
import os
import pathlib
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence

from soundstream_jax import errors
from soundstream_jax.checkpoint import holder
from soundstream_jax.launch.sweep import events, provenance

LOG = "log.txt"
EVALUATION = "evaluation"
_END_SECONDS = 60.0
# A process that a signal ended, as a shell and as Python have it.
_STOPPED = {
  *(128 + s for s in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)),
  *(-s for s in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)),
}

# The child does it before it becomes the command. 1 is PR_SET_PDEATHSIG.
_BECOME = """
import ctypes, os, sys
parent, *command = sys.argv[1:]
if sys.platform == "linux":
  ctypes.CDLL(None).prctl(1, 9)
  if os.getppid() != int(parent):
    os._exit(1)
os.execv(command[0], command)
"""


class Work:
  """The processes of one point, from `start` until `poll` tells the end."""

  def __init__(
    self,
    workdir: pathlib.Path,
    *,
    training: Sequence[str] | None,
    evaluation: Sequence[str] | None,
    log: pathlib.Path | None = None,
    recorded: bool = True,
    alone: Mapping[str, str] | None = None,
    model: pathlib.Path | None = None,
    to: pathlib.Path | None = None,
  ):
    """Args:
    workdir: of the point.
    training: flags of `soundstream_jax.train`; None: it is trained.
    evaluation: flags of `soundstream_jax.evaluate`, workdir and out left out;
      None: another process evaluates.
    log: gets what the processes print; None: where this process prints.
    recorded: this process tells of the point's events.
    alone: environment of the evaluation, beside this process's.
    model: a workdir to evaluate; default this one.
    to: where the evaluation goes; default a folder of the workdir.
    """
    self.workdir = workdir
    self._log = log
    self._recorded = recorded
    self._alone = dict(alone or {})
    self._model = model or workdir
    self._to = to or workdir / EVALUATION
    self._evaluation = None if evaluation is None else list(evaluation)
    self.stage = None
    self._process: subprocess.Popen | None = None
    self._asked = False
    if training is not None:
      self._start(events.TRAIN, [*training])
    elif evaluation is not None:
      self._start_evaluation()

  def poll(self) -> int | None:
    """Returns the exit code of all, once there is nothing left to do.

    It is training's (launch/README.md); EXIT_PREEMPTED where evaluation was
    stopped, which goes on where it was.
    """
    if self._process is None:
      return 0
    code = self._process.poll()
    if code is None:
      return None
    if self.stage == events.EVALUATE and code in _STOPPED:
      code = errors.EXIT_PREEMPTED
    self._record(f"{self.stage} ended", code=code)
    trained = self.stage == events.TRAIN and code == 0
    self._process = None
    if trained and self._evaluation is not None:
      if self._asked:
        return errors.EXIT_PREEMPTED
      self._start_evaluation()
      return None
    return code

  def stop(self) -> None:
    """Asks training to save and stop, evaluation to stop."""
    if not self._asked and self._process is not None:
      self._asked = True
      self._record("stopping")
      self._process.send_signal(signal.SIGTERM)

  def end(self) -> None:
    """Ends what is at work, saved if that does not take long; records nothing."""
    if self._process is not None and self._process.poll() is None:
      self._process.send_signal(signal.SIGTERM)
      with contextlib.suppress(subprocess.TimeoutExpired):
        self._process.wait(_END_SECONDS)
      self._process.kill()
      self._process.wait()

  def _start_evaluation(self) -> None:
    self._start(
      events.EVALUATE,
      [
        f"--workdir={self._model}",
        f"--out={self._to}",
        *self._evaluation,
      ],
      words=self._evaluation,
    )

  def _start(self, stage: str, flags: list[str], **more) -> None:
    self.stage = stage
    module = f"soundstream_jax.{stage}"
    self._process = start(
      [sys.executable, "-u", "-m", module, *flags],
      log=self._log,
      environment=os.environ | (self._alone if stage != events.TRAIN else {}),
    )
    self._record(
      stage,
      process=holder.identity(self._process.pid),
      hardware=provenance.hardware(),
      git_revision=provenance.git_revision(),
      **more,
    )

  def _record(self, event: str, **values) -> None:
    if self._recorded:
      events.append(self.workdir, event, **values)


def start(
  command: Sequence[str],
  *,
  log: pathlib.Path | None,
  environment: Mapping[str, str],
) -> subprocess.Popen:
  """Starts a command that ends with this thread, and hears no Ctrl-C.

  Args:
    command: its first word is a program's path.
    log: gets what it prints, at its end; None: where this process prints.
    environment: all of it.
  """
  become = [sys.executable, "-S", "-c", _BECOME, str(os.getpid())]
  with contextlib.ExitStack() as stack:
    output = None
    if log is not None:
      with errors.writing(log.name, log.parent):
        log.parent.mkdir(parents=True, exist_ok=True)
        output = stack.enter_context(open(log, "ab"))
    return subprocess.Popen(
      [*become, *command],
      env=dict(environment),
      stdin=subprocess.DEVNULL,
      stdout=output,
      stderr=subprocess.STDOUT if output else None,
      start_new_session=True,
    )
