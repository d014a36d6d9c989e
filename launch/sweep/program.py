"""Programs that are asked something, and what they answer."""

import subprocess
from collections.abc import Sequence

from soundstream_jax import errors


def answer(words: Sequence[str], *, refused: str) -> str:
  """Returns what a program prints.

  Args:
    words: the program and its arguments.
    refused: begins the error's line where it fails.

  Raises:
    InputError: it fails or is not there, with the last line that it says.
  """
  try:
    done = subprocess.run(
      words,
      capture_output=True,
      text=True,
      errors="backslashreplace",
      check=False,
    )
  except OSError as error:
    raise errors.InputError(
      f"{refused}: {words[0]} cannot be started ({error.strerror})."
    ) from error
  if done.returncode:
    said = done.stderr.strip().splitlines() or ["it gives no reason"]
    raise errors.InputError(f"{refused}: {said[-1].rstrip('.')}.")
  return done.stdout.strip()
