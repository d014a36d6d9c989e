"""Which code ran where: WORKDIR/versions.jsonl, a line for each start of a run.

    {"time": 1795845936.0, "step": 0, "soundstream_jax": "0.1.0",
     "source": "d9e3...", "git_revision": "f00a8c5...", "python": "3.11.2",
     "hardware": "8 x NVIDIA H200", "processes": 2, "packages": {"jax": ...}}

`source` is a digest of our own modules: it tells what a revision does not, a
checkout that was edited. Nothing here is ever read by training, and what cannot
be written is a warning.
"""

import hashlib
import importlib.metadata
import os
import pathlib
import platform
import time
from collections.abc import Iterable
from typing import Any

import jax
from absl import logging

import soundstream_jax
from soundstream_jax.train.monitoring import log_files

LINES = "versions.jsonl"

# Of others, whose versions may change what is computed.
_PACKAGES = (
  *("array_record", "flax", "grain", "jax", "jaxlib", "numpy", "optax"),
  *("orbax-checkpoint", "scipy", "soxr", "tensorstore"),
  *("jax-cuda12-plugin", "jax-cuda13-plugin", "libtpu"),
)


def note(workdir: pathlib.Path, *, step: int) -> None:
  """Appends the line of a start; the primary process calls it.

  Args:
    workdir: of the run, which exists.
    step: that the run goes on from.
  """
  try:
    file = log_files.LineFile(pathlib.Path(workdir) / LINES)
    file.append({"time": round(time.time(), 3), "step": step} | here())
    file.close()
  except OSError as error:
    logging.warning(
      "%s could not be written (%s): the run goes on without it.",
      LINES,
      error.strerror or error,
    )


def here() -> dict[str, Any]:
  """Returns the versions of this process, JSON."""
  kinds = [device.device_kind for device in jax.devices()]
  return {
    "soundstream_jax": soundstream_jax.__version__,
    "source": _source(),
    "git_revision": git_revision(pathlib.Path(__file__)),
    "python": platform.python_version(),
    "hardware": ", ".join(
      f"{kinds.count(kind)} x {kind}" for kind in sorted(set(kinds))
    ),
    "processes": jax.process_count(),
    "xla_flags": os.environ.get("XLA_FLAGS", ""),
    "packages": of_packages(_PACKAGES),
  }


def git_revision(file: pathlib.Path) -> str | None:
  """Returns the commit of the checkout that a file is in; None: in none.

  By reading: a process with threads is not to fork for a log.
  """
  for folder in file.absolute().parents:
    git = folder / ".git"
    if not git.exists() or not (folder / "soundstream_jax").is_dir():
      continue
    try:
      if git.is_file():  # a worktree's, "gitdir: PATH"
        git = folder / git.read_text().partition(":")[2].strip()
      return _commit(git)
    except (OSError, UnicodeDecodeError):
      return None
  return None


def _commit(git: pathlib.Path) -> str | None:
  head = (git / "HEAD").read_text().strip()
  if not head.startswith("ref: "):
    return head
  name = head.removeprefix("ref: ")
  common = git
  if (git / "commondir").is_file():
    common = git / (git / "commondir").read_text().strip()
  for place in (git, common):
    if (place / name).is_file():
      return (place / name).read_text().strip()
  for line in (common / "packed-refs").read_text().splitlines():
    commit, _, found = line.partition(" ")
    if found == name:
      return commit
  return None


def _source() -> str:
  root = pathlib.Path(soundstream_jax.__file__).parent
  digest = hashlib.sha256()
  for path in sorted(root.rglob("*.py")):
    digest.update(str(path.relative_to(root)).encode() + b"\0")
    digest.update(hashlib.sha256(path.read_bytes()).digest())
  return digest.hexdigest()[:16]


def of_packages(names: Iterable[str]) -> dict[str, str]:
  """Returns the versions of those packages that are installed."""
  found = {}
  for name in names:
    try:
      found[name] = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
      continue
  return found
