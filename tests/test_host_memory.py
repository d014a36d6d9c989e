"""Freed memory is kept, in huge pages, and holes between pieces are closed."""

import pathlib
import subprocess
import sys

import pytest

FAULTS = """
import resource
import numpy as np
from soundstream_jax.devices import host_memory
{keep}
def faults():
  before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
  np.ones(25_000_000).sum()
  return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
faults()
print(faults())
"""
# 200 MB are 95 huge pages or 48,828 small ones; the system mixes them.
FEW = 20


HUGE = """
from soundstream_jax.devices import host_memory
assert host_memory.keep()
heaps = open("/proc/self/smaps").read().split("[heap]")[1:]
for heap in heaps:
  print(next(l for l in heap.splitlines() if l.startswith("VmFlags")))
"""
HOLES = """
import ctypes
from soundstream_jax.devices import host_memory
library = ctypes.CDLL(None)
library.malloc.restype = ctypes.c_void_p
library.malloc.argtypes = [ctypes.c_size_t]
library.free.argtypes = [ctypes.c_void_p]
library.memset.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t]

def resident():
  line = next(l for l in open("/proc/self/status") if l.startswith("VmRSS"))
  return int(line.split()[1]) << 10

assert host_memory.close_holes() == 0  # nothing is reserved yet
assert host_memory.keep()
size = 1 << 20
pieces = [library.malloc(size) for _ in range(400)]
for piece in pieces:
  library.memset(piece, 1, size)
def fits():
  place = library.malloc(size)
  library.free(place)
  return pieces[0] <= place <= pieces[-1]
for piece in pieces[1:-1:2]:
  library.free(piece)
assert fits()
before = resident()
given_back = host_memory.close_holes()
assert not fits()
print(given_back >= 190 * size, before - resident() >= 140 * size)
"""

linux = pytest.mark.skipif(sys.platform != "linux", reason="mallopt is glibc's")


def _printed(script):
  command = [sys.executable, "-c", script]
  result = subprocess.run(command, capture_output=True, text=True)
  assert result.returncode == 0, result.stderr
  return result.stdout


def _faults(keep):
  return int(_printed(FAULTS.format(keep=keep)))


@linux
def test_memory_taken_again_comes_without_page_faults():
  assert _faults("assert host_memory.keep()") < FEW < _faults("")


@linux
def test_pages_are_huge_where_the_system_has_them():
  offered = pathlib.Path("/sys/kernel/mm/transparent_hugepage").exists()
  assert ("hg" in _printed(HUGE).split()) == offered


@linux
def test_holes_between_pieces_are_given_back_and_never_filled():
  assert _printed(HOLES).split() == ["True", "True"]
