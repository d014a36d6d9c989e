"""Files of a model's tables: WORKDIR/entropy/IDENTITY.tables.

Beside the checkpoints, where pruning does not come. Tables are never replaced:
whoever measures again adds a file, and what was coded with the older tables
finds them by the identity in its header.
"""

import os
import pathlib

from soundstream_jax import errors, whole_files
from soundstream_jax.codec.sstr.entropy import tables as tables_lib

FOLDER = "entropy"
SUFFIX = ".tables"

_MEASURE = "soundstream tables --model=WORKDIR --data=DATASET"


def write(
  workdir: str | os.PathLike, tables: tables_lib.Tables
) -> pathlib.Path:
  """Writes tables, whole or not at all, and returns their file.

  Raises:
    InputError: there is no such workdir.
    DiskError: it cannot be written to.
  """
  path = pathlib.Path(workdir, name(tables))
  with errors.writing("the tables", path.parent):
    path.parent.mkdir(exist_ok=True)
  whole_files.write(path, tables.to_bytes())
  return path


def name(tables: tables_lib.Tables) -> str:
  """Returns the path of tables below a workdir."""
  return f"{FOLDER}/{tables.identity.hex()}{SUFFIX}"


def read(workdir: str | os.PathLike, identity: bytes) -> tables_lib.Tables:
  """Returns the tables of an identity, which a coded file names.

  Raises:
    InputError: the workdir does not have them, or they are damaged.
  """
  path = _path(workdir, identity)
  if not path.is_file():
    present = ", ".join(file.stem[:12] for file in _files(workdir)) or "none"
    raise errors.InputError(
      f"{workdir} does not have the tables {identity.hex()} that this was "
      f"coded with. Copy them to {path.parent}. Present: {present}."
    )
  tables = _load(path)
  if tables.identity != identity:
    raise errors.InputError(
      f"{path}: holds the tables {tables.identity.hex()}. Name it after them."
    )
  return tables


def for_model(
  workdir: str | os.PathLike, fingerprint: bytes
) -> tables_lib.Tables:
  """Returns the newest tables that were measured for a model, to code with.

  Raises:
    InputError: there are none, or a file is damaged.
  """
  found = all_for_model(workdir, fingerprint)
  if not found:
    raise errors.InputError(
      f"{workdir} has no tables for the model {fingerprint.hex()[:12]}. "
      f"Measure them with {_MEASURE}, for its step and weights."
    )
  return found[-1]


def all_for_model(
  workdir: str | os.PathLike, fingerprint: bytes
) -> list[tables_lib.Tables]:
  """Returns all tables of a model, the newest last.

  Raises:
    InputError: a file is damaged.
  """
  return [
    tables
    for tables in map(_load, _files(workdir))
    if tables.fingerprint == fingerprint
  ]


def _files(workdir: str | os.PathLike) -> list[pathlib.Path]:
  """Returns the files of tables, the newest last."""
  files = (pathlib.Path(workdir) / FOLDER).glob(f"*{SUFFIX}")
  visible = [file for file in files if not file.name.startswith(".")]
  return sorted(visible, key=lambda file: (file.stat().st_mtime_ns, file.name))


def _path(workdir: str | os.PathLike, identity: bytes) -> pathlib.Path:
  return pathlib.Path(workdir) / FOLDER / f"{identity.hex()}{SUFFIX}"


def _load(path: pathlib.Path) -> tables_lib.Tables:
  try:
    return tables_lib.Tables.from_bytes(path.read_bytes())
  except OSError as error:
    raise errors.InputError(
      f"{path}: cannot be read ({error.strerror or error})."
    ) from None
  except errors.InputError as error:
    raise errors.InputError(f"{path}: {error}") from None
