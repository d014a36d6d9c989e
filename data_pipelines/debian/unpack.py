"""Unpacks the audio of a Debian package, and of the games' archives in it.

Kept are audio and what lies in the package's usr/share/doc: its copyright file
is the evidence of the licence. An archive of a game becomes a folder of its
name:

  *.pk3   a zip
  *.cat   sounds of OpenTTD. Little-endian; u32 offset (its highest bit marks
          this version) and u32 size for every sound; the first offset tells how
          many there are. At an offset: u8 length, title of that length with a
          zero at its end, then `size` bytes of RIFF wav. A title names author
          and licence, so titles.txt keeps them.

An archive is hostile input: whatever would land outside the folder is refused,
and links are not followed.
"""

import pathlib
import shutil
import struct
import subprocess
import tarfile
import tempfile
import zipfile
import zlib
from typing import BinaryIO

from soundstream_jax import errors
from soundstream_jax.audio import reading

GAME_SUFFIXES = (".pk3", ".cat")

_ENTRY = struct.Struct("<II")
_OFFSET_BITS = 0x7FFFFFFF
_WAV_HEADER_BYTES = 44
_CHUNK_BYTES = 1 << 20


def unpack(deb: pathlib.Path, package: str, folder: pathlib.Path) -> None:
  """Unpacks a .deb; `folder` gets the paths that it has in the package.

  Raises:
    InputError: a damaged or hostile package.
    OSError: the disk cannot be written to.
  """
  with tempfile.TemporaryFile() as complaints:
    reader = subprocess.Popen(
      ["dpkg-deb", "--fsys-tarfile", deb],
      stdout=subprocess.PIPE,
      stderr=complaints,
    )
    with reader:
      try:
        problem = _read_tar(reader.stdout, package, folder)
      except BaseException:
        reader.kill()
        raise
    complaints.seek(0)
    said = complaints.read().decode("utf-8", "replace").strip()
  if problem or reader.returncode:
    raise _damaged(deb, said or problem)
  for suffix in GAME_SUFFIXES:
    for path in sorted(folder.rglob(f"*{suffix}")):
      inside = path.with_suffix("")
      if suffix == ".pk3":
        unzip(path, inside)
      else:
        split_cat(path, inside)
      path.unlink()


def unzip(path: pathlib.Path, folder: pathlib.Path) -> None:
  """Unpacks the audio of a zip.

  Raises:
    InputError: as `unpack`.
  """
  try:
    with zipfile.ZipFile(path) as opened:
      for member in opened.infolist():
        if _is_audio(member.filename):
          with opened.open(member) as content:
            _write(folder, member.filename, content, path.name)
  except (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    NotImplementedError,  # a compression of others
    RuntimeError,  # a password
  ) as error:
    raise _damaged(path, error) from None


def split_cat(path: pathlib.Path, folder: pathlib.Path) -> None:
  """Writes the sounds as 000.wav, 001.wav ... and their titles.

  Sounds without samples are left out; the others keep their numbers.

  Raises:
    InputError: as `unpack`.
  """
  data = path.read_bytes()
  folder.mkdir(parents=True, exist_ok=True)
  titles = []
  try:
    first, _ = _ENTRY.unpack_from(data)
    for number in range((first & _OFFSET_BITS) // _ENTRY.size):
      offset, size = _ENTRY.unpack_from(data, number * _ENTRY.size)
      at = offset & _OFFSET_BITS
      start = at + 1 + data[at]
      title = data[at + 1 : start].rstrip(b"\0").decode("utf-8", "replace")
      sound = data[start : start + size]
      if len(sound) < size or sound[:4] != b"RIFF":
        raise ValueError(f"sound {number} is not a wav of {size} bytes")
      if size > _WAV_HEADER_BYTES:
        (folder / f"{number:03d}.wav").write_bytes(sound)
        titles.append(f"{number:03d} {' '.join(title.split())}\n")
  except (struct.error, IndexError, ValueError) as error:
    raise _damaged(path, error) from None
  (folder / "titles.txt").write_text("".join(titles), "utf-8")


def _read_tar(
  tar: BinaryIO, package: str, folder: pathlib.Path
) -> tarfile.TarError | EOFError | None:
  """Writes what is wanted; returns what is wrong with the tar."""
  documents = f"usr/share/doc/{package}/"
  try:
    with tarfile.open(fileobj=tar, mode="r|") as opened:
      for member in opened:
        name = member.name.removeprefix("./")
        document = name.startswith(documents) and "changelog" not in name
        if member.isreg() and (
          document or _is_audio(name) or name.endswith(GAME_SUFFIXES)
        ):
          _write(folder, name, opened.extractfile(member), package)
    while tar.read(_CHUNK_BYTES):  # or its end kills the sender
      pass
  except (tarfile.TarError, EOFError) as error:
    return error
  return None


def _is_audio(name: str) -> bool:
  return pathlib.PurePosixPath(name).suffix.lower() in reading.SUFFIXES


def _write(
  folder: pathlib.Path, name: str, content: BinaryIO, archive: str
) -> None:
  """Writes one file below the folder.

  Raises:
    InputError: its name leads elsewhere.
  """
  parts = name.split("/")
  hostile = {"", ".", ".."} & set(parts) or any(c in name for c in "\\\0")
  target = folder.joinpath(*parts)
  if hostile or (target.exists() and not target.is_file()):
    raise errors.InputError(
      f"{archive} is refused: its {name!r} does not stay in the folder. "
      "Get the package from another mirror."
    )
  target.parent.mkdir(parents=True, exist_ok=True)
  with open(target, "wb") as file:
    shutil.copyfileobj(content, file, _CHUNK_BYTES)


def _damaged(path: pathlib.Path, reason: object) -> errors.InputError:
  return errors.InputError(
    f"{path.name} cannot be unpacked ({reason}). Run the command again; if it "
    "stays so, use another mirror."
  )
