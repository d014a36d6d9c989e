"""Paths that a user names: `~` in them, and whether they can be used at all.

A shell expands `--flag ~/x`, but not `--flag=~/x`: every flag and every field
of a configuration that is a path goes through `expand`. The checks look before
the long work begins; what they cannot see, `errors.run` says afterwards.
"""

import argparse
import errno
import os
import pathlib
import pwd
import re
import stat
import sys

from soundstream_jax import console, errors

_START = re.compile(r"(^)(~[^/]*)")
# Of 'DIR:weight,DIR'. Behind a comma there may be blanks.
_STARTS = re.compile(r"((?:^|(?<!\\),)\s*)(~[^/,:]*)")


def home() -> str | None:
  """Returns this user's home; None: there is none, or it is not absolute."""
  named = os.environ.get("HOME", "")
  if not named:
    try:
      named = pwd.getpwuid(os.getuid()).pw_dir
    except KeyError:  # a container may run as any number
      return None
  return named if os.path.isabs(named) else None


def expand(text: str) -> str:
  """Returns a path with its leading `~` or `~user` replaced by that home.

  Where there is no such user but a file that is called so, it is the file: a
  shell's pattern may have found it. `./~name` is never a home.

  Raises:
    InputError: there is no such home, or the path cannot be one.
  """
  if "\0" in text:
    raise errors.InputError(
      f"{console.shown(text)} holds a byte 0, which no name has. Leave it out."
    )
  return _START.sub(_with_home, text)


def expand_each(text: str) -> str:
  """Returns 'DIR:weight,DIR' with `expand` of each of its paths.

  Raises:
    InputError: as `expand`.
  """
  if "\0" in text or (text[:1] != "~" and os.path.lexists(text)):
    return expand(text)  # commas belong to a name
  return _STARTS.sub(_with_home, text)


def argument(text: str) -> str:
  """Is `expand` as a type of argparse."""
  return _as_argument(expand, text)


def arguments(text: str) -> str:
  """Is `expand_each` as a type of argparse."""
  return _as_argument(expand_each, text)


def exists(name: str, path: str | os.PathLike) -> bool:
  """Whether there is a file or a folder.

  Args:
    name: as the user gave it, such as "--input=data".
    path: of the file or folder.

  Raises:
    InputError: the system does not say, as it refuses the path.
  """
  with errors.reading(name):
    try:
      os.stat(path)
    except FileNotFoundError:
      return False
  return True


def check_text(name: str, path: str | os.PathLike) -> None:
  """Refuses a path that the libraries of checkpoints and datasets cannot take.

  They take UTF-8, whatever this system's names are made of.

  Args:
    name: as the user gave it, such as "--workdir=runs/a".
    path: of the file or folder.

  Raises:
    InputError: with what to do instead.
  """
  whole = os.path.abspath(path)
  try:
    whole.encode()
  except UnicodeEncodeError:
    fix = "Rename it"
    if sys.getfilesystemencoding() != "utf-8":
      fix = "Set PYTHONUTF8=1, as this locale is ASCII's; else rename it"
    name, shown = console.shown(name), console.shown(whole)
    raise errors.InputError(
      f"{name}: {'' if name.endswith(shown) else f'{shown}: '}the name is not "
      f"UTF-8, which files of checkpoints and datasets need. {fix}."
    ) from None


def readable(name: str, path: str | os.PathLike) -> bool:
  """Whether there is a file or a folder, as `exists`, that can be read.

  Raises:
    InputError: it cannot be read; with what the system says of it.
  """
  if not exists(name, path):
    return False
  with errors.reading(name):
    is_folder = stat.S_ISDIR(os.stat(path).st_mode)
    if not _may(path, os.R_OK | (os.X_OK if is_folder else 0)):
      raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)
  return True


def check_writable_file(name: str, path: str | os.PathLike) -> None:
  """Refuses a file that cannot be written; its folder has to be there.

  Raises:
    InputError, DiskError: as `check_writable_folder`.
  """
  folder = pathlib.Path(path).parent
  if exists(name, path) and os.path.isdir(path):
    raise errors.InputError(f"{name} is a folder. Name a file.")
  if not exists(name, folder):
    raise errors.InputError(
      f"{name}: there is no folder {folder}. Make it, or name another file."
    )
  check_writable_folder(name, folder)


def check_writable_folder(name: str, path: str | os.PathLike) -> None:
  """Refuses a folder that cannot be written, or not be made.

  Args:
    name: as the user gave it, such as "--out=data".
    path: of the folder, of which parts need not exist.

  Raises:
    InputError: with what the system says of it.
    DiskError: the disk is read-only.
  """
  place = pathlib.Path(path).absolute()
  with errors.reading(name):
    while not os.path.lexists(place) and not _is_refused(place):
      place = place.parent
    if place.is_symlink() and not os.path.lexists(os.path.realpath(place)):
      raise errors.InputError(
        f"{name}: {place} is a link to {os.readlink(place)}, which is not "
        "there. Make that folder, or remove the link."
      )
    if not stat.S_ISDIR(os.stat(place).st_mode):
      raise errors.InputError(
        f"{name}: {place} is a file, not a folder. Use another folder."
      )
  if _may(place, os.W_OK | os.X_OK):
    return
  if os.statvfs(place).f_flag & os.ST_RDONLY:
    raise errors.unwritable(name, place, os.strerror(errno.EROFS))
  raise errors.InputError(
    f"{name}: {place} cannot be written ({os.strerror(errno.EACCES)}). Use "
    "another folder, or change the permissions of this one."
  )


def _with_home(match: re.Match[str]) -> str:
  before, name = match.groups()
  user = name[1:]
  if user:
    try:
      found = pwd.getpwnam(user).pw_dir
    except (KeyError, ValueError):
      if os.path.lexists(name):
        return match[0]
      raise errors.InputError(
        f"{console.shown(name)}: there is no user {console.shown(user)!r}. A "
        f"file whose name begins so is written ./{console.shown(name)}."
      ) from None
  else:
    found = home()
    if found is None:
      raise errors.InputError(
        "~: this user has no home. Set HOME to a folder, or write the whole "
        "path; a folder that is called so is written ./~."
      )
  rest = match.string[match.end() :]
  return before + (found.rstrip("/") if rest.startswith("/") else found)


def _as_argument(change, text: str) -> str:
  try:
    return change(text)
  except errors.InputError as error:
    raise argparse.ArgumentTypeError(str(error)) from None


def _is_refused(path: pathlib.Path) -> bool:
  """True where the system says more of a path than that it is not there."""
  try:
    os.lstat(path)
  except FileNotFoundError:
    return False
  except OSError:
    return True
  return False


def _may(path: str | os.PathLike, mode: int) -> bool:
  effective = os.access in os.supports_effective_ids
  return os.access(path, mode, effective_ids=effective)
