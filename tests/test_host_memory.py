"""Freed memory is kept, so that it costs no page faults again."""

import subprocess
import sys

import pytest

FAULTS = """
import resource
import numpy as np
from soundstream_jax import host_memory
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


def _faults(keep):
  command = [sys.executable, "-c", FAULTS.format(keep=keep)]
  result = subprocess.run(command, capture_output=True, text=True, check=True)
  return int(result.stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="mallopt is glibc's")
def test_memory_taken_again_comes_without_page_faults():
  assert _faults("assert host_memory.keep()") < FEW < _faults("")
