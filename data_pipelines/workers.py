"""One worker of `prepare`, a process: the address that starts it.

  python -m soundstream_jax.data_pipelines.workers FOLDER OUT

preparation/workers.py says what it reads and answers.
"""

import sys

from soundstream_jax.data_pipelines.preparation import workers

if __name__ == "__main__":
  workers.main(*sys.argv[1:])
