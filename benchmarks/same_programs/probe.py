"""python -m benchmarks.same_programs.probe: one checkout's side.

Started by `__main__`, in a process of its own. Writes into a folder, for each
case, a text or arrays, and prints one line of JSON.
"""

import argparse
import gzip
import hashlib
import json
import os
import pathlib
import resource
import sys
import time
import warnings

# Before jax. Four devices, for what is sharded; other cases use one.
os.environ["XLA_FLAGS"] = (
  os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=4"
)
os.environ["JAX_PLATFORMS"] = "cpu"

import jax
import numpy as np

from benchmarks.same_programs import (
  canonical,
  cases,
  inputs,
  places,
  training,
)

# Of what jax keeps of the cases before: memory, or time.
CASES_KEPT = 50


def main() -> None:
  parser = argparse.ArgumentParser()
  parser.add_argument("checkout", type=pathlib.Path)
  parser.add_argument("out", type=pathlib.Path)
  parser.add_argument("--steps", type=int)
  parser.add_argument("--values", action="store_true")
  given = parser.parse_args()
  checkout = given.checkout.resolve()
  places.use(checkout)
  given.out.mkdir(parents=True, exist_ok=True)
  warnings.simplefilter("ignore")
  for number, name in enumerate(map(str.strip, sys.stdin), 1):
    if number % CASES_KEPT == 0:
      jax.clear_caches()
    start = time.monotonic()
    try:
      found = _examine(name, given)
    except Exception as error:  # one case must not take the others along
      found = {"error": f"{type(error).__name__}: {error}"}
    found["seconds"] = round(time.monotonic() - start, 2)
    print(json.dumps({"name": name, **found}), flush=True)
  places.check(checkout)
  peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
  print(json.dumps({"peak_gb": round(peak, 2)}), flush=True)


def _examine(name: str, given) -> dict:
  file = given.out / name.replace("/", "-")
  kind = name.split("/")[0]
  if kind == "train":
    return _save(file, training.run(name, steps=given.steps))
  if kind == "leaves":
    text = cases.leaves(name)
  elif given.values:
    function, arguments = cases.PROGRAMS[kind](name, inputs.Drawn())
    return _save(file, training.arrays(function(*arguments)))
  else:
    function, arguments = cases.PROGRAMS[kind](name, inputs.Abstract())
    text = canonical.text(function.lower(*arguments).as_text())
  with gzip.open(f"{file}.txt.gz", "wt", compresslevel=1) as out:
    out.write(text)
  return {"text": hashlib.sha256(text.encode()).hexdigest()}


def _save(file: pathlib.Path, arrays: dict[str, np.ndarray]) -> dict:
  """Writes arrays, and returns a hash of their paths, types and bits."""
  digest = hashlib.sha256()
  for path, array in arrays.items():
    digest.update(f"{path} {array.dtype} {array.shape}\n".encode())
    digest.update(np.ascontiguousarray(array).tobytes())
  # bfloat16 is no type of numpy's files: float32 holds it.
  np.savez(
    f"{file}.npz",
    **{
      path: array.astype(np.float32) if array.dtype.kind == "V" else array
      for path, array in arrays.items()
    },
  )
  return {"values": digest.hexdigest()}


if __name__ == "__main__":
  main()
