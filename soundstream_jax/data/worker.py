"""A worker process that makes batches: it outlives a signal, not its parent.

Clusters and terminals send their signals to every process of a job. Then
training still wants data, until all processes have agreed on a step to save. A
parent that is killed says goodbye to nobody, and its workers would stay.
"""

import multiprocessing
import os
import re
import signal
import socket
import threading

from soundstream_jax import os_signals
from soundstream_jax.devices import host_memory

# Seconds that a signalled worker goes on for; its parent ends it long before.
GRACE_SECONDS = 120


def begin(index: int, count: int) -> None:
  """Runs in each worker before it makes anything."""
  del index, count
  host_memory.keep()  # a batch is megabytes; fresh pages cost more than filling
  threading.Thread(target=_end_with_parent, daemon=True).start()
  for number in os_signals.STOPS:
    if signal.getsignal(number) is not signal.SIG_IGN:  # as of nohup
      signal.signal(number, _end_later)
  os_signals.hear()


def lost(error: RuntimeError) -> RuntimeError | None:
  """Returns an error that says which worker ended, if that is what it was."""
  found = re.search(r"Worker process .* exit code (-?\d+)", str(error))
  if found is None:
    return None
  code = int(found[1])
  how = f"exit code {code}"
  if -code in set(signal.Signals):
    how = f"killed by {signal.Signals(-code).name}"
  return RuntimeError(
    f"a worker process that reads data on {socket.gethostname()} is gone "
    f"({how}). If its host is short of memory, lower data.num_workers or "
    "data.prefetch_batches; the same command resumes."
  )


def _end_with_parent() -> None:
  multiprocessing.parent_process().join()
  os._exit(1)


def _end_later(number, frame) -> None:
  del frame
  signal.signal(number, signal.SIG_IGN)
  end = threading.Timer(GRACE_SECONDS, os._exit, args=(1,))
  end.daemon = True
  end.start()
