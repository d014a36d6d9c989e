"""The audio files of a folder: the one walk of all that takes a folder."""

import collections
import dataclasses
import os
import pathlib
from collections.abc import Mapping, Sequence

from soundstream_jax import errors
from soundstream_jax.audio import ffmpeg, formats


@dataclasses.dataclass(frozen=True)
class Walk:
  """What is in a folder.

  Attributes:
    files: audio that can be read here, in the order of the names below the
      folder.
    left_out: what else may be audio, as in "12 .m4a, 1 folder that may not be
      read"; '' if there is nothing.
    others: suffix, or 'no suffix' -> how many files are not audio.
  """

  files: tuple[pathlib.Path, ...]
  left_out: str
  others: collections.Counter[str]


def seen(others: Mapping[str, int]) -> str:
  """Says what is in a folder beside audio, the most of it.

  Args:
    others: as of `Walk`.
  """
  most = sorted(others.items(), key=lambda item: -item[1])[:3]
  return ", ".join(f"{n} {suffix}" for suffix, n in most) or "no files at all"


def is_audio(path: str | os.PathLike) -> bool:
  """True for a name that audio has which can be read on this machine."""
  return pathlib.PurePath(path).suffix.lower() in suffixes()


def suffixes() -> frozenset[str]:
  """Returns those of the audio that can be read on this machine."""
  if ffmpeg.installed():
    return formats.of_libsndfile() | formats.of_ffmpeg()
  return formats.of_libsndfile()


def walk(
  root: str | os.PathLike,
  *,
  parts: Sequence[str | os.PathLike] = (".",),
  of: frozenset[str] | None = None,
) -> Walk:
  """Looks at all that is below a folder.

  Hidden files and folders, such as the ._ files of macOS, are passed over.
  Links are followed, although they may loop: a folder that several lead to is
  entered once. A folder that may not be read is left out, and counted.

  Args:
    parts: only these paths below `root`; those that are no folder have
      nothing in them.
    of: suffixes of what is looked for; None is audio.

  Raises:
    InputError: `root` is no folder, or may not be read.
  """
  root = pathlib.Path(root)
  try:
    with os.scandir(root):
      pass
  except OSError as error:
    raise errors.InputError(
      f"{root}: the folder cannot be read ({error.strerror}). Change its "
      "permissions, or use another folder."
    ) from None
  found = _Found(of)
  for part in parts:
    found.enter(root / part)
  found.files.sort(key=lambda path: os.fsencode(path.relative_to(root)))
  return Walk(tuple(found.files), found.left_out(), found.others)


class _Found:
  """What a walk has seen so far."""

  def __init__(self, of: frozenset[str] | None):
    self._wanted = suffixes() if of is None else of
    # What another machine would read.
    self._elsewhere = formats.of_ffmpeg() - self._wanted if of is None else ()
    self.files: list[pathlib.Path] = []
    self.others = collections.Counter()
    self._unread = collections.Counter()  # suffix -> audio that needs ffmpeg
    self._closed = collections.Counter()  # what cannot be opened
    self._visited = set()

  def enter(self, folder: pathlib.Path) -> None:
    """Adds a folder and all below it."""
    if not os.path.isdir(folder):
      return
    for place, subfolders, names in os.walk(
      folder, followlinks=True, onerror=self._refused
    ):
      real = os.path.realpath(place)
      if real in self._visited:
        subfolders.clear()
        continue
      self._visited.add(real)
      subfolders[:] = sorted(s for s in subfolders if s[0] != ".")
      for name in names:
        if name[0] != ".":
          self._add(pathlib.Path(place, name))

  def _refused(self, error: OSError) -> None:
    del error
    self._closed["folder", "that may not be read"] += 1

  def _add(self, path: pathlib.Path) -> None:
    suffix = path.suffix.lower()
    if not os.path.exists(path):
      self._closed["broken link", ""] += 1
    elif suffix in self._elsewhere:
      self._unread[suffix] += 1
    elif suffix not in self._wanted:
      self.others[suffix or "no suffix"] += 1
    elif not os.path.isfile(path):
      self._closed["pipe or device", ""] += 1
    elif not os.access(path, os.R_OK):
      self._closed["file", "that may not be read"] += 1
    else:
      self.files.append(path)

  def left_out(self) -> str:
    counted = [f"{n} {suffix}" for suffix, n in sorted(self._unread.items())]
    for (what, why), n in sorted(self._closed.items()):
      counted.append(f"{n} {what}{'s' if n > 1 else ''} {why}".rstrip())
    text = ", ".join(counted)
    if self._unread:
      text += "; install ffmpeg for these formats"
    return text
