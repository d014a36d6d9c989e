"""Which card, driver, versions and code: what results stand and fall with."""

import hashlib
import os
import pathlib
import platform
import subprocess
from collections.abc import Iterator
from typing import Any

ROOT = pathlib.Path(__file__).parents[2]
# What decides a result: our own code, and how it is measured.
_CODE = (
  *("soundstream_jax", "configs", "benchmarks/pytorch", "benchmarks/sides.py"),
  *("benchmarks/gpu/measuring", "benchmarks/gpu/conditions.py"),
)
_PACKAGES = (
  *("jax", "jaxlib", "jax-cuda12-plugin", "jax-cuda13-plugin"),
  *("jax-cuda12-pjrt", "jax-cuda13-pjrt"),
  *("nvidia-cudnn-cu12", "nvidia-cudnn-cu13"),
  *("nvidia-cublas-cu12", "nvidia-cublas", "flax"),
)
_QUERY = "name,driver_version,memory.total,power.limit,clocks.max.sm"
# Of another program, from which on times are not to be believed.
OTHERS_MB = 1_000


def about(given) -> Iterator[dict[str, Any]]:
  """Yields `of`, what results stand and fall with, and notes beside it."""
  import jax

  device = jax.devices()[0]
  card = asked_of_the_driver(_QUERY) if given.device == "cuda" else []
  yield {
    "platform": device.platform,
    "of": {
      "card": device.device_kind if card else platform.processor() or "cpu",
      "driver": card[1] if card else "",
      "versions": versions(),
      "source": source(),
      "xla_flags": os.environ.get("XLA_FLAGS", ""),
    },
    "notes": {
      "memory": card[2] if card else "",
      "power": card[3] if card else "",
      "clock": card[4] if card else "",
      "backend": " ".join(device.client.platform_version.split()),
      "python": platform.python_version(),
      "commit": commit(),
    },
  }


def asked_of_the_driver(query: str) -> list[str]:
  """Returns what nvidia-smi says of the first card; [] if it says nothing."""
  command = ["nvidia-smi", f"--query-gpu={query}", "--format=csv,noheader"]
  try:
    done = subprocess.run(command, capture_output=True, text=True, timeout=30)
  except (OSError, subprocess.TimeoutExpired):
    return []
  lines = done.stdout.strip().splitlines()
  return [part.strip() for part in lines[0].split(",")] if lines else []


def used_by_others() -> str:
  """Says what takes a part of the card before we do; '' if nothing does."""
  found = asked_of_the_driver("memory.used,utilization.gpu")
  used = found[0].split()[0] if found else ""
  if used.isdigit() and int(used) > OTHERS_MB:
    return f"{found[0]} of the card's memory are in use, {found[1]} of its time"
  return ""


def versions() -> dict[str, str]:
  """Returns those of the packages that are installed."""
  from soundstream_jax.train.monitoring import versions as versions_lib

  return versions_lib.of_packages(_PACKAGES)


def source() -> str:
  """Returns a digest of the code that is measured and that measures."""
  digest = hashlib.sha256()
  for name in _CODE:
    place = ROOT / name
    files = [place] if place.is_file() else sorted(place.rglob("*.py"))
    for path in files:
      digest.update(f"{path.relative_to(ROOT)}\0".encode())
      digest.update(hashlib.sha256(path.read_bytes()).digest())
  return digest.hexdigest()[:16]


def commit() -> str | None:
  """Returns the checkout's commit, where it is one."""
  from soundstream_jax.train.monitoring import versions as versions_lib

  return versions_lib.git_revision(ROOT / "soundstream_jax" / "__init__.py")
