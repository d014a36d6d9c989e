"""python -m soundstream_jax.launch.sweep.point --evaluate='FLAGS' -- FLAGS

Runs one point of a sweep where a cluster has started it: training with FLAGS,
then, in one process of the job, its evaluation. SIGTERM lets training save and
stop; the exit code is training's (launch/README.md). `--trained` leaves training
out, for a batch script that has done it.
"""

import contextlib
import os
import pathlib
import shlex
import sys
import time

from soundstream_jax import endings

if __name__ == "__main__":  # before what takes seconds to import
  endings.obey()

from absl import app, flags

from soundstream_jax import errors
from soundstream_jax.launch import arguments
from soundstream_jax.launch.sweep import events, stopping, work

_LOOK_SECONDS = 0.2
# As often as a point shows that it lives.
_SIGN_SECONDS = 10.0

_EVALUATE = flags.DEFINE_string(
  "evaluate", "", "Flags of the evaluation, as a shell has them."
)
_TRAINED = flags.DEFINE_bool("trained", False, "Evaluate; it is trained.")


def main(argv):
  sys.exit(errors.run(_main, argv[1:]))


def _main(words: list[str]) -> int:
  named = [
    word.partition("=")[2] for word in words if word[:10] == "--workdir="
  ]
  if not named:
    raise errors.InputError(
      "the point has no --workdir. Put training's flags behind --."
    )
  workdir = pathlib.Path(named[-1])
  first = _rank() == 0
  evaluation = shlex.split(_EVALUATE.value) if first else None
  with stopping.Stop(
    lambda name: print(f"{name}: the point stops", flush=True)
  ) as stop:
    point = work.Work(
      workdir,
      training=None if _TRAINED.value else words,
      evaluation=evaluation,
      recorded=first,
      alone=_alone(),
    )
    signed = time.monotonic()
    while (code := point.poll()) is None:
      if stop.asked.is_set():
        point.stop()
      if first and time.monotonic() - signed > _SIGN_SECONDS:
        signed = time.monotonic()
        with contextlib.suppress(OSError):
          os.utime(workdir / events.NAME)
      time.sleep(_LOOK_SECONDS)
  return code if code >= 0 else 128 - code


def _rank() -> int:
  """Returns this process's number in its job."""
  for name in ("JOB_COMPLETION_INDEX", "SLURM_PROCID"):
    if os.environ.get(name, "").isdecimal():
      return int(os.environ[name])
  return 0


def _alone() -> dict[str, str]:
  """Returns what lets one process of several compute by itself."""
  # A host of a larger slice of TPUs would wait for the others.
  if "," in os.environ.get("TPU_WORKER_HOSTNAMES", ""):
    return {"JAX_PLATFORMS": "cpu"}
  return {}


if __name__ == "__main__":
  app.run(main, flags_parser=arguments.parse)
