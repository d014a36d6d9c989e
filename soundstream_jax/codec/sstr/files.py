"""Opens files to be read, and names them in errors."""

import contextlib
import os
from collections.abc import Iterator
from typing import BinaryIO

from soundstream_jax import errors


@contextlib.contextmanager
def opened(
  path: str | os.PathLike, *, name: str | None = None
) -> Iterator[BinaryIO]:
  """Opens a file to be read; errors while it is open get its name.

  Args:
    path: of the file.
    name: for messages; None is the path.

  Raises:
    InputError: no such file, or what is found wrong in it.
  """
  name = os.fspath(path) if name is None else name
  try:
    file = open(path, "rb")  # noqa: SIM115
  except OSError as error:
    raise errors.InputError(
      f"{name}: cannot be read ({error.strerror or error}). Name one .sstr "
      "file."
    ) from None
  with file, naming(name):
    yield file


@contextlib.contextmanager
def naming(name: str) -> Iterator[None]:
  """Begins the message of an InputError with a name, unless it does already."""
  try:
    yield
  except errors.InputError as error:
    told = str(error).removeprefix(f"{name}: ")
    raise errors.InputError(f"{name}: {told}") from None
