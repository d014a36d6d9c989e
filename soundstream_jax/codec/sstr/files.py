"""Opens files to be read, named in errors."""

import contextlib
import os
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
