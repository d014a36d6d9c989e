r"""Lists of folders in one text: DIR,DIR. A comma in a name is written `\,`."""

import re
from collections.abc import Iterable

_COMMA = re.compile(r"(?<!\\),")


def split(text: str) -> list[str]:
  r"""Returns the names of a list, without those that are empty.

  `a\,b` is one name, a,b; every other backslash is part of its name.
  """
  names = (name.replace("\\,", ",").strip() for name in _COMMA.split(text))
  return [name for name in names if name]


def join(names: Iterable[str]) -> str:
  """Returns the list that `split` takes apart."""
  return ",".join(name.replace(",", "\\,") for name in names)
