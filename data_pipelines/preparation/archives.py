"""Unpacks archives, as a dataset's site ships them, into one folder.

--input may be archives, or a folder in which they lie unextracted. They are
unpacked side by side into the working folder, and each leaves a marker when it
is complete, so that a restart resumes behind it. An archive is hostile input:
whatever would land outside, and every link, is refused.
"""

import contextlib
import dataclasses
import hashlib
import json
import pathlib
import re
import shutil
import sys
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence

from soundstream_jax import console, errors
from soundstream_jax.data_pipelines import corpus
from soundstream_jax.data_pipelines.preparation import disk, split_file

SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2")

FOLDER = "unpacked"
DONE = ".done"

_CHUNK_BYTES = 1 << 20
# Only reading all of a compressed tar tells what is in it. Audio shrinks
# little: LibriTTS, 16-bit wav at 24 kHz, by a quarter.
_TAR_GROWTH = 1.4
_TAR_MODES = {".tar": "r:", ".gz": "r:gz", ".tgz": "r:gz", ".bz2": "r:bz2"}
_PART = re.compile(r"(.+\.zip)\.(\d{3})")


@dataclasses.dataclass(frozen=True)
class Archive:
  """One archive, of one file or of volumes that are joined as they are."""

  name: str
  volumes: tuple[pathlib.Path, ...]

  @property
  def size_bytes(self) -> int:
    return sum(volume.stat().st_size for volume in self.volumes)

  @property
  def is_zip(self) -> bool:
    return self.name.lower().endswith(".zip")


def siblings(paths: Iterable[pathlib.Path]) -> list[pathlib.Path]:
  """Adds the other volumes of archives of which one is named."""
  found = []
  for path in paths:
    split = _PART.fullmatch(path.name)
    if split:
      near = sorted(path.parent.iterdir())
      found += [p for p in near if p.name.rpartition(".")[0] == split[1]]
    else:
      found.append(path)
  return list(dict.fromkeys(found))


def find(paths: Iterable[pathlib.Path], *, whole: bool = True) -> list[Archive]:
  """Returns the archives among some files, in the order of their names.

  Args:
    whole: False takes those of which volumes are missing, too.

  Raises:
    InputError: a volume of an archive is missing.
  """
  found = {}
  for path in paths:
    split = _PART.fullmatch(path.name)
    if split:
      found.setdefault(split[1], {})[int(split[2])] = path
    elif path.name.lower().endswith(SUFFIXES):
      found[path.name] = {1: path}
  archives = []
  for name, volumes in sorted(found.items()):
    missing = set(range(1, max(volumes) + 1)) - set(volumes)
    if missing and whole:
      raise errors.InputError(
        f"--input: {name}.{min(missing):03d} is missing, a part of {name}. "
        "Put all parts into one folder."
      )
    archives.append(Archive(name, tuple(volumes[n] for n in sorted(volumes))))
  return archives


def unpack(
  archives: Sequence[Archive],
  loose: Iterable[pathlib.Path],
  folder: pathlib.Path,
  *,
  known: Sequence[corpus.Archive],
  check: Callable[[], None],
) -> pathlib.Path:
  """Unpacks archives into the working folder; returns the folder made.

  Args:
    loose: what lies beside the archives and belongs to them, such as tables;
      linked into the folder.
    known: the archives that the site ships, with their md5.
    check: called now and then; may raise to end the work.

  Raises:
    InputError: a damaged or hostile archive, another md5, or too little space.
    OSError: the disk cannot be written to.
  """
  key = json.dumps([[a.name, a.size_bytes] for a in archives]).encode()
  own = folder / f"{FOLDER}-{hashlib.sha256(key).hexdigest()[:12]}"
  for other in folder.glob(f"{FOLDER}-*"):
    if other != own:
      shutil.rmtree(other)
  root = own / "files"
  root.mkdir(parents=True, exist_ok=True)
  left = [a for a in archives if not _marker(own, a).exists()]
  if len(left) < len(archives):
    print(
      f"going on: {len(archives) - len(left)} of {len(archives)} archives are "
      "unpacked",
      file=sys.stderr,
    )
  _check_space(left, folder)
  md5_of = {archive.name: archive.md5 for archive in known}
  for archive in left:
    print(
      f"unpacking {console.shown(archive.name)}", file=sys.stderr, flush=True
    )
    for volume in archive.volumes:
      _check_md5(volume, md5_of.get(volume.name, ""), check)
    with _readable(archive):
      for name, content in _members(archive):
        check()
        _copy(content, root, name, archive, check)
    disk.write(_marker(own, archive), b"")
  for path in loose:
    link = root / path.name
    if not link.exists():
      link.symlink_to(path.absolute())
  return root


def _marker(own: pathlib.Path, archive: Archive) -> pathlib.Path:
  return own / f"{archive.name}{DONE}"


def _members(archive: Archive) -> Iterator[tuple[str, object]]:
  """Yields (name, open file) of the files in an archive, in its order."""
  if archive.is_zip:
    with (
      split_file.open_all(archive.volumes) as raw,
      zipfile.ZipFile(raw) as opened,
    ):
      for member in opened.infolist():
        kind = member.external_attr >> 28  # of a Unix mode; 0 where not given
        if member.is_dir():
          continue
        if kind not in (0, 0o10):
          _refuse(archive, member.filename, "is no plain file")
        with opened.open(member) as content:
          yield member.filename, content
  else:
    with tarfile.open(
      archive.volumes[0], _TAR_MODES[archive.volumes[0].suffix.lower()]
    ) as opened:
      for member in opened:
        if member.isdir():
          continue
        if not member.isreg():
          _refuse(archive, member.name, "is a link, or no plain file")
        yield member.name, opened.extractfile(member)
      while opened.fileobj.read(_CHUNK_BYTES):  # up to the checksum
        pass


def _copy(content, root: pathlib.Path, name: str, archive, check) -> None:
  """Writes one file below root.

  Raises:
    InputError: its name leads elsewhere.
  """
  path = pathlib.PurePosixPath(name)
  if path.is_absolute() or {"..", ""} & {*path.parts, path.name}:
    _refuse(archive, name, "does not stay in the folder")
  if any(character in name for character in "\\\0"):
    _refuse(archive, name, "is not a name of a file")
  target = root / path
  with contextlib.ExitStack() as stack:
    try:
      target.parent.mkdir(parents=True, exist_ok=True)
      file = stack.enter_context(open(target, "wb"))
    except (FileExistsError, IsADirectoryError, NotADirectoryError):
      _refuse(archive, name, "is both a file and a folder")
    while chunk := content.read(_CHUNK_BYTES):
      check()
      file.write(chunk)


def _refuse(archive: Archive, name: str, why: str) -> None:
  raise errors.InputError(
    f"--input: {archive.name} is refused: its {name!r} {why}. Unpack it "
    "yourself, if you trust it, and give the folder."
  )


@contextlib.contextmanager
def _readable(archive: Archive) -> Iterator[None]:
  """Turns a damaged archive into an InputError."""
  try:
    yield
  except (
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    NotImplementedError,  # a compression or an encryption of others
    RuntimeError,  # a password
    UnicodeError,
  ) as error:
    raise errors.InputError(_damaged(archive, str(error))) from None
  except OSError as error:
    if error.errno is not None:
      raise  # the disk's, not the decompressor's
    raise errors.InputError(_damaged(archive, str(error))) from None


def _damaged(archive: Archive, reason: str) -> str:
  if archive.is_zip and archive.volumes[0].with_suffix(".z01").exists():
    stem = archive.name[: -len(".zip")]
    return (
      f"--input: {archive.name} is the last part of a zip in parts "
      f"({stem}.z01 ...). Join them with `zip -s 0 {archive.name} --out "
      f"{stem}-whole.zip` and give that."
    )
  return (
    f"--input: {archive.name} cannot be unpacked ({reason}). Get it again, or "
    "unpack it yourself and give the folder."
  )


def _check_md5(path: pathlib.Path, md5: str, check: Callable[[], None]) -> None:
  if not md5:
    return
  digest = hashlib.md5(usedforsecurity=False)
  with open(path, "rb") as file:
    while chunk := file.read(_CHUNK_BYTES):
      check()
      digest.update(chunk)
  if digest.hexdigest() != md5:
    raise errors.InputError(
      f"--input: {path.name} has md5 {digest.hexdigest()}, and its site says "
      f"{md5}. Get it again; or unpack it yourself, if it is a newer one."
    )


def _check_space(archives: Sequence[Archive], folder: pathlib.Path) -> None:
  needed = 0
  for archive in archives:
    with _readable(archive):
      needed += _unpacked_bytes(archive)
  free = shutil.disk_usage(folder).free
  if needed > free:
    raise errors.InputError(
      f"--out: unpacking needs about {needed / 1e9:.1f} GB beside --out, and "
      f"{free / 1e9:.1f} GB are free there. Free some, use --out on another "
      "disk, or unpack the archives elsewhere and give that folder."
    )


def _unpacked_bytes(archive: Archive) -> int:
  if archive.is_zip:
    with (
      split_file.open_all(archive.volumes) as raw,
      zipfile.ZipFile(raw) as opened,
    ):
      return sum(member.file_size for member in opened.infolist())
  if archive.name.lower().endswith(".tar"):
    return archive.size_bytes
  return round(_TAR_GROWTH * archive.size_bytes)
