"""Memory of this process that is given back is kept for the next step.

On a CPU a step of the paper's size takes 4 GB from the C library and returns
it. By default the library hands it to the system at once and gets fresh pages
for the next step: a million page faults, a third of the step's time.
"""

import ctypes
import sys

# Of mallopt(3) in glibc: how much to keep, from when on to ask the system for
# a piece alone, and how many pools there are, of which only the first is large.
_TRIM_THRESHOLD, _MMAP_MAX, _ARENA_MAX = -1, -4, -8
_EVERYTHING = -1


def keep() -> bool:
  """Keeps freed memory from now on; False where the C library is not glibc.

  The process then stays as large as it ever was. Call it before JAX starts its
  threads, which would otherwise have small pools of their own.
  """
  if not sys.platform.startswith("linux"):
    return False
  mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
  if mallopt is None:
    return False
  settings = ((_ARENA_MAX, 1), (_MMAP_MAX, 0), (_TRIM_THRESHOLD, _EVERYTHING))
  return all(mallopt(*setting) == 1 for setting in settings)
