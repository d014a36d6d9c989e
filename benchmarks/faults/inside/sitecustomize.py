"""Runs in every process of a job that `benchmarks.faults` disturbs.

Python imports this module at its start, because its folder is on PYTHONPATH.
SOUNDSTREAM_FAULT is JSON:

    folder      where process K says what it did: pid-K, marks-K, hit-K
    processes   numbers of the processes that the fault happens in
    phase       of PHASES; the moment is `delay` seconds into it, or its end
    count       the phase's first, second, ... time
    delay       null stops the process where it is until the action is done
    action      what happens, of fault_actions.ACTIONS, once in a job
    last_step   of the run
    step_seconds  by which every step is longer

Every phase is marked as it begins and ends, in each process.
"""

import atexit
import importlib.util
import json
import os
import pathlib
import sys
import threading
import time

import fault_actions

PHASES = (
  "import",  # until the command's own code begins
  "start",  # joining the others, opening data, looking at the workdir
  "restore",
  "k-means",
  "compile",
  "step",
  "save",  # until it is on disk, with its sums
  "evaluation",
  "end",  # after the last save has begun
  "read",  # of a record
)


class _Fault:
  """The fault of this process, and where the process is."""

  def __init__(self, given: dict, process: int):
    self._given, self._process = given, process
    self._folder = pathlib.Path(given["folder"])
    self._lock = threading.RLock()
    self._began = time.monotonic()
    self._counts = {}
    self._pending = None  # the phase whose timer runs
    self._entered = self._began  # that phase
    self._step = self._saving = 0
    # Once in a job: what starts again finds that it has happened.
    self._armed = process in given["processes"] and (
      given["action"] == "fail always"
      or not (self._folder / f"hit-{process}").exists()
    )
    self._marks = (self._folder / f"marks-{process}").open("a", buffering=1)
    (self._folder / f"pid-{process}").write_text(str(os.getpid()))

  def enter(self, phase: str) -> bool:
    """Begins a phase; returns True if the fault happened right here."""
    if phase != "read":  # which happens beside everything else
      self._finish("step")  # which has no end of its own
    elif "compile" not in self._counts:
      return False  # read ahead for k-means, and perhaps never used
    with self._lock:
      self._counts[phase] = self._counts.get(phase, 0) + 1
      self._step += phase == "step"
      self._mark(phase, "begins")
      if (
        not self._armed
        or self._given["phase"] != phase
        or self._given["count"] != self._counts[phase]
      ):
        return False
      self._armed = False
      self._pending, self._entered = phase, time.monotonic()
    delay = self._given["delay"]
    if delay is None:
      self._finish(phase)
      return True
    timer = threading.Timer(delay, self._finish, (phase,))
    timer.daemon = True
    timer.start()
    return False

  def leave(self, phase: str) -> None:
    self._finish(phase)
    self._mark(phase, "ends")

  def exits(self) -> None:
    if self._pending is not None:
      self._finish(self._pending)
    self._mark("end", "ends")

  def restores(self, step: int) -> None:
    self._step = step
    self.enter("restore")

  def saves(self, step: int) -> None:
    self._saving = step
    self.enter("save")

  def waits(self) -> None:
    if self._saving == self._given["last_step"]:
      self.enter("end")

  def hit(self, phase: str) -> None:
    """Says where the fault happened."""
    said = {
      "phase": phase,
      "count": self._counts.get(phase, 0),
      "seconds": round(time.monotonic() - self._entered, 2),
      "step": self._step,
      "process": self._process,
      "pid": os.getpid(),
      "time": fault_actions.true_time(),
    }
    path = self._folder / f"hit-{self._process}"
    path.with_suffix(".tmp").write_text(json.dumps(said))
    path.with_suffix(".tmp").rename(path)

  def _finish(self, phase: str) -> None:
    """Does what is to be done in this phase, unless it has been done."""
    with self._lock:
      if self._pending != phase:
        return
      self._pending = None
      self.hit(phase)
    fault_actions.ACTIONS[self._given["action"]](self._given, self._folder)

  def _mark(self, phase: str, event: str) -> None:
    line = {
      "phase": phase,
      "event": event,
      "count": self._counts.get(phase, 0),
      "seconds": time.monotonic() - self._began,
    }
    self._marks.write(json.dumps(line) + "\n")


def _around(owner, name: str, before, after=None) -> None:
  """Calls before(...) and after(...) around owner.name, with its arguments."""
  original = getattr(owner, name)

  def call(*args, **options):
    before(*args, **options)
    try:
      return original(*args, **options)
    finally:
      if after is not None:
        after(*args, **options)

  setattr(owner, name, call)


def _patches(fault: _Fault, given: dict) -> dict:
  """Returns module name -> what is done to it once it is imported."""

  def phase(owner, name, word):
    _around(
      owner,
      name,
      lambda *_, **__: fault.enter(word),
      lambda *_, **__: fault.leave(word),
    )

  def command(module):
    def begin(*_):
      fault.leave("import")
      fault.enter("start")

    _around(module, "run", begin)

  def ending(module):
    # Without Python's own way to exit.
    _around(module, "end", lambda *_: fault.exits())

  def start(module):
    _around(module, "state", lambda *_, **__: fault.leave("start"))

  def kmeans(module):
    phase(module, "initialise", "k-means")

  def compiled(module):
    called = set()

    def before(one):
      if one.name not in called:
        fault.enter("compile")

    def after(one):
      if one.name not in called:
        called.add(one.name)
        fault.leave("compile")

    def step(*_):
      fault.enter("step")
      time.sleep(given["step_seconds"])

    _around(module.Compiled, "compile", before, after)
    _around(module.Compiled, "__call__", step)

  def manager(module):
    owner = module.Checkpoints
    _around(
      owner,
      "restore",
      lambda _, __, step: fault.restores(step),
      lambda *_, **__: fault.leave("restore"),
    )
    _around(owner, "save", lambda _, step, *__, **___: fault.saves(step))
    _around(owner, "wait", lambda *_, **__: fault.waits())

  def integrity(module):
    # By the primary, beside training.
    _around(
      module,
      "seal",
      lambda *_, **__: None,
      lambda *_, **__: fault.leave("save"),
    )

  def validation(module):
    phase(module.Validator, "__call__", "evaluation")

  def foreign(module):
    _break_reads(module.Files, fault, given["action"])

  package = "soundstream_jax."
  return {
    package + "train.command": command,
    package + "devices.ending": ending,
    package + "train.start": start,
    package + "train.kmeans_start": kmeans,
    package + "train.compiled": compiled,
    package + "train.validation": validation,
    package + "checkpoint.manager": manager,
    package + "checkpoint.integrity": integrity,
    package + "data.foreign": foreign,
  }


def _break_reads(files, fault: _Fault, action: str) -> None:
  """The disk below a record fails, once or for ever, or never answers."""
  original, broken = files.__getitem__, set()

  def read(self, index):
    here = (self._opened_as, index)
    if fault.enter("read"):
      if action == "hang":
        time.sleep(3600)
      if action == "fail always":
        broken.add(here)
      raise OSError(5, "Input/output error")
    if here in broken:
      raise OSError(5, "Input/output error")
    return original(self, index)

  files.__getitem__ = read


class _Finder:
  """Finds modules as ever, and patches some once they are imported."""

  def __init__(self, patches: dict):
    self._patches, self._busy = patches, set()

  def find_spec(self, name, path, target=None):
    if name not in self._patches or name in self._busy:
      return None
    self._busy.add(name)
    try:
      spec = importlib.util.find_spec(name)
    finally:
      self._busy.discard(name)
    execute = spec.loader.exec_module

    def patched(module):
      execute(module)
      self._patches[name](module)

    spec.loader.exec_module = patched
    return spec


def _process() -> int | None:
  """Returns the number of a process that trains, None in any other."""
  words = sys.orig_argv
  if "soundstream_jax.train" not in words:
    return None
  numbers = [
    w.partition("=")[2] for w in words if w.startswith("--process_id=")
  ]
  return int(numbers[-1]) if numbers else 0


def _begin() -> None:
  process = _process()
  if process is None:
    return
  given = json.loads(os.environ["SOUNDSTREAM_FAULT"])
  fault = _Fault(given, process)
  atexit.register(fault.exits)
  sys.meta_path.insert(0, _Finder(_patches(fault, given)))
  if given["action"] == "older content" and process in given["processes"]:
    import older_content

    older_content.begin(given, lambda: fault.hit("start"))
  fault.enter("import")


if "SOUNDSTREAM_FAULT" in os.environ:
  _begin()
