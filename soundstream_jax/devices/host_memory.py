"""Memory of the host for a step: kept, in huge pages, and in one piece.

On a CPU a step of the paper's size takes 4 GB from the C library and gives it
back. As the library is, three things cost more than some of its layers:

* It hands such a piece to the system at once, and the next step gets fresh
  pages: a million page faults. `keep` has it kept.
* A page is 4 kB, and the processor spends time on finding out where each of a
  million lies, in a virtual machine above all. `keep` asks for pages of 2 MB.
* A compiler leaves gigabytes of holes between what stays, in lists that the
  library walks through, under one lock, for every piece that a layer asks for.
  `close_holes` takes them off the lists.
"""

import ctypes
import functools
import mmap
import os
import pathlib
import sys

# Of mallopt(3) in glibc: how much to keep, from when on to ask the system for
# a piece alone, and how many pools there are, of which only the first is large.
_TRIM_THRESHOLD, _MMAP_MAX, _ARENA_MAX = -1, -4, -8
_EVERYTHING = -1
# Of madvise(2).
_HUGE_PAGES = 14
_HUGE_PAGE_BYTES = 2 << 20
_GIVE_BACK = 4
# With holes of 64 kB and more closed, those below still took 15 % of a step.
_LEAST_HOLE_BYTES = 4 << 10
# Of /proc/sys/vm/overcommit_memory: addresses are counted as if used.
_STRICT = "2"

# Bytes that `keep` has reserved, if any.
_reserved: list[int] = []


def keep() -> bool:
  """Keeps freed memory from now on; False where the C library is not glibc.

  The process then stays as large as it ever was. Where the system has huge
  pages for who asks for them, it asks. Call it before JAX starts its threads,
  which would otherwise have small pools of their own.
  """
  if not sys.platform.startswith("linux"):
    return False
  library = _library()
  if not hasattr(library, "mallopt"):
    return False
  settings = ((_ARENA_MAX, 1), (_MMAP_MAX, 0), (_TRIM_THRESHOLD, _EVERYTHING))
  kept = all(library.mallopt(*setting) == 1 for setting in settings)
  if kept and _addresses_are_free():
    _reserve(library)
  return kept


def close_holes() -> int:
  """Gives the system what lies free between pieces in use; call it after `keep`.

  The addresses of these holes are not used again. Does nothing where `keep`
  could reserve none to use instead.

  Returns:
    Bytes given back.
  """
  if not _reserved:
    return 0
  library, given_back = _library(), 0
  # Too large for a hole: it lies where the holes end.
  end = library.malloc(_reserved[0] // 2)
  if end is None or not _is_in_pool(library, end):
    library.free(end)
    return 0
  size = _reserved[0] // 4
  while size >= _LEAST_HOLE_BYTES:
    place = library.malloc(size)
    if place is not None and place < end:
      start, length = _whole(place, size, mmap.PAGESIZE)
      library.madvise(start, length, _GIVE_BACK)
      given_back += length
      continue
    library.free(place)
    size //= 2
  library.free(end)
  return given_back


@functools.cache
def _library() -> ctypes.CDLL:
  library = ctypes.CDLL(None)
  library.malloc.restype = ctypes.c_void_p
  library.malloc.argtypes = [ctypes.c_size_t]
  library.free.argtypes = [ctypes.c_void_p]
  library.sbrk.restype = ctypes.c_void_p
  library.sbrk.argtypes = [ctypes.c_ssize_t]
  library.madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
  return library


def _reserve(library: ctypes.CDLL) -> None:
  """Has the pool take addresses for most of what it may ever hold.

  It takes a piece of that size, and keeps it when it is given back: addresses
  only, memory is what is written to.
  """
  # The system refuses at once what is more than the machine has.
  size = os.sysconf("SC_PHYS_PAGES") * mmap.PAGESIZE * 7 // 8
  place = library.malloc(size)
  if place is None:
    return
  # Elsewhere it lies where another library allocates instead (LD_PRELOAD).
  if _is_in_pool(library, place):
    library.madvise(*_whole(place, size, _HUGE_PAGE_BYTES), _HUGE_PAGES)
    _reserved[:] = [size]
  library.free(place)


def _is_in_pool(library: ctypes.CDLL, place: int) -> bool:
  """Whether it lies below the program's break, where glibc's first pool ends."""
  return place < library.sbrk(0)


def _whole(place: int, size: int, page: int) -> tuple[int, int]:
  """Start and length of the whole pages within; size is one at least."""
  start = -(-place // page) * page
  return start, (place + size) // page * page - start


def _addresses_are_free() -> bool:
  """Whether this process may have addresses that it never writes to."""
  import resource  # where Linux is

  limits = (resource.RLIMIT_AS, resource.RLIMIT_DATA)
  if any(resource.getrlimit(n)[0] != resource.RLIM_INFINITY for n in limits):
    return False
  try:
    mode = pathlib.Path("/proc/sys/vm/overcommit_memory").read_text()
  except OSError:
    return False
  return mode.strip() != _STRICT
