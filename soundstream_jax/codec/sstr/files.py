"""Opens files: named in errors, and written whole or not at all."""

import contextlib
import os
import pathlib
from collections.abc import Iterator
from typing import BinaryIO

from soundstream_jax import errors


@contextlib.contextmanager
def opened(path: str | os.PathLike) -> Iterator[BinaryIO]:
  """Opens a file to be read; errors while it is open get its name.

  Raises:
    InputError: no such file, or what is found wrong in it.
  """
  try:
    file = open(path, "rb")  # noqa: SIM115
  except OSError as error:
    raise errors.InputError(
      f"{os.fspath(path)}: cannot be read ({error.strerror or error}). Name "
      "one .sstr file."
    ) from None
  with file:
    try:
      yield file
    except errors.InputError as error:
      raise errors.InputError(f"{os.fspath(path)}: {error}") from None


@contextlib.contextmanager
def replacing(path: str | os.PathLike) -> Iterator[BinaryIO]:
  """Opens a file to be written, which gets its name once it is whole.

  Raises:
    InputError: the file cannot be written.
  """
  path = pathlib.Path(path)
  partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
  try:
    with open(partial, "wb") as file:
      yield file
    os.replace(partial, path)
  except OSError as error:
    raise errors.InputError(
      f"{path}: cannot be written ({error.strerror or error}). Use a folder "
      "that exists, may be written to and has space."
    ) from None
  finally:
    with contextlib.suppress(OSError):
      partial.unlink()
