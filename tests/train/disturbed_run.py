"""Training in a process that is disturbed at an exact moment.

  python tests/train/disturbed_run.py MOMENT PROCESS TRAINING_FLAGS...

The process whose --process_id is PROCESS (or that has none) sends itself
SIGTERM at the moment, or raises an error if it is called error:MOMENT.
"""

import importlib
import os
import signal
import sys

# Moment -> (module, name, at which call); of soundstream_jax.
MOMENTS = {
  "start": ("train.command", "run", 1),
  "join": ("devices.joining", "initialize", 1),
  "data": ("data.loader", "train_loader", 1),
  "k-means": ("train.kmeans_start", "initialise", 1),
  "restore": ("checkpoint.manager", "Checkpoints.restore", 1),
  "compile": ("train.compiled", "Compiled.compile", 1),
  "first batch": ("data.loader", "Loader.__next__", 1),
  "flags": ("config", "from_flags", 1),
  "step": ("train.progress", "read", 2),
  "evaluation": ("train.validation", "Validator.__call__", 1),
  "save": ("checkpoint.manager", "Checkpoints.save", 1),
  "last step": ("train.progress", "read_all", 2),
  "end": ("checkpoint.manager", "Checkpoints.wait", 1),
}


def find(module: str, name: str) -> tuple[object, str]:
  """Returns what has the name, and the last part of the name."""
  owner = importlib.import_module(f"soundstream_jax.{module}")
  *outer, name = name.split(".")
  for part in outer:
    owner = getattr(owner, part)
  return owner, name


def disturb(moment: str) -> None:
  """Has this process stopped, or fail, at a moment."""
  kind, _, moment = moment.rpartition(":")
  module, name, call = MOMENTS[moment]
  owner, name = find(module, name)
  function, calls = getattr(owner, name), 0

  def disturbed(*args, **options):
    nonlocal calls
    calls += 1
    if calls == call:
      print(f"disturbed: {moment}", file=sys.stderr, flush=True)
      if kind == "error":
        raise ZeroDivisionError("a bug of ours")
      os.kill(os.getpid(), signal.SIGTERM)
    return function(*args, **options)

  setattr(owner, name, disturbed)


def main() -> None:
  moment, process = sys.argv[1:3]
  del sys.argv[1:3]
  numbers = [w for w in sys.argv if w.startswith("--process_id=")] or ["=0"]
  if numbers[0].endswith(f"={process}"):
    disturb(moment)
  from soundstream_jax.train import __main__ as train

  train.main()


if __name__ == "__main__":
  main()
