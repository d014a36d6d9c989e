"""Items to encode: the records of a prepared dataset, or a folder's files."""

import dataclasses
import hashlib
import os
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any, Protocol

import numpy as np

from soundstream_jax import console, errors
from soundstream_jax.audio import folders, reading, waveform
from soundstream_jax.codec import recording
from soundstream_jax.data import dataset_folder
from soundstream_jax.data import source as source_lib

FIELD = "--data"

_SPLITS = ("train", "validation", "test")
_SAMPLE_BYTES = 2
# A record has at most so many seconds; how long each is, nobody says.
_RECORD_SECONDS = 10


class Sound(recording.Sound, Protocol):
  """The sound of an item; a context manager.

  Attributes:
    damage: '', or after the last block one line on what is missing.
  """

  damage: str

  def __enter__(self) -> "Sound": ...

  def __exit__(self, *unused: object) -> None: ...


@dataclasses.dataclass(frozen=True)
class Item:
  """What an index says of an item, and its sound.

  Attributes:
    source: text, the file below the folder; of a record, that it came from.
    group: of a record; None of a file.
    record: its number in the split; None of a file.
  """

  source: str
  group: str | None
  record: int | None
  sound: Sound


class Input(Protocol):
  """What --data names.

  Attributes:
    noun: what its items are.
    left_out: '', or what was passed over.
  """

  noun: str
  left_out: str

  def listing(self) -> dict[str, Any]:
    """Returns what makes it another input, as JSON."""

  def sizes(self) -> Mapping[str, list[int]]:
    """Returns split -> bytes of each of its items; of a folder, '' -> them."""

  def source(self, split: str, number: int) -> str:
    """Returns how an item is called where it cannot be opened."""

  def open(self, split: str, number: int) -> Item:
    """Opens an item of a split; from any thread.

    Raises:
      InputError: it cannot be read, or has changed.
    """


def find(folder: str) -> Input:
  """Looks at what --data names.

  Raises:
    InputError: no such folder, a dataset that cannot be read, or no audio.
  """
  errors.check_mounted(FIELD, folder)
  try:
    return _find(pathlib.Path(folder))
  except OSError as error:
    raise errors.InputError(
      f"{FIELD}={console.shown(folder)} cannot be read ({error.strerror}). Change its "
      "permissions, or use another folder."
    ) from None


def _find(root: pathlib.Path) -> Input:
  folder = console.shown(root)
  if not root.is_dir():
    problem = "is a file" if root.exists() else "does not exist"
    raise errors.InputError(
      f"{FIELD}={folder} {problem}. Name a prepared dataset, or a folder "
      "of audio files."
    )
  found = dataset_folder.info_files(root)
  if len(found) > 1:
    names = ", ".join(console.shown(file.parent) for file in found[:4])
    raise errors.InputError(
      f"{FIELD}={folder} holds {len(found)} datasets: {names}. Name one."
    )
  return Dataset(found[0]) if found else Folder(root)


class Folder:
  """The audio files of a folder, in the order of their names."""

  noun = "file"

  def __init__(self, root: pathlib.Path):
    """Raises InputError where there is no audio."""
    self._root = root
    walk = folders.walk(root)
    self.left_out = walk.left_out
    self._files = [
      (path.relative_to(root).as_posix(), _size(path)) for path in walk.files
    ]
    if not self._files:
      raise errors.InputError(
        f"{FIELD}={console.shown(root)}: neither a prepared dataset nor audio is in "
        "this folder."
        + (f" Left out: {self.left_out}." if self.left_out else "")
      )

  def listing(self) -> dict[str, Any]:
    return {"files": [list(file) for file in self._files]}

  def sizes(self) -> Mapping[str, list[int]]:
    return {"": [size for _, size in self._files]}

  def source(self, split: str, number: int) -> str:
    return text(self._files[number][0])

  def open(self, split: str, number: int) -> Item:
    name, size = self._files[number]
    return Item(text(name), None, None, _File(self._root / name, size))


class Dataset:
  """The records of a prepared dataset, split by split, in their order."""

  noun = "record"
  left_out = ""

  def __init__(self, info_file: pathlib.Path):
    """Raises InputError where it is damaged, or no prepared dataset."""
    folder = info_file.parent
    info = dataset_folder.open_builder(info_file, FIELD).info
    if not dataset_folder.is_prepared(info):
      raise errors.InputError(
        f"{FIELD}: {console.shown(folder)} is a dataset of another kind ({info.name}). "
        f"Use one made by {dataset_folder.PREPARE}, or a folder of files."
      )
    self._rate_hz = int(info.metadata["sample_rate_hz"])
    self._digest = _digest(folder)
    self._sources = {
      split: source_lib.open_source(
        str(folder), split, self._rate_hz, field=FIELD
      )
      for split in _SPLITS
      if split in info.splits and info.splits[split].num_examples
    }

  def listing(self) -> dict[str, Any]:
    records = {split: len(source) for split, source in self._sources.items()}
    return {"records": records, "digest": self._digest}

  def sizes(self) -> Mapping[str, list[int]]:
    each = _RECORD_SECONDS * self._rate_hz * _SAMPLE_BYTES
    return {s: [each] * len(source) for s, source in self._sources.items()}

  def source(self, split: str, number: int) -> str:
    return f"{split}/{number}"

  def open(self, split: str, number: int) -> Item:
    record = self._sources[split][number]
    audio = waveform.to_float32(record["audio"])[:, None]
    sound = _Record(f"{split}/{number}", self._rate_hz, audio)
    return Item(record["source"], record["group"], number, sound)


class _Record:
  """The sound of a record, which is in memory."""

  channels = 1
  damage = ""

  def __init__(self, name: str, rate_hz: int, audio: np.ndarray):
    self.name, self.rate_hz, self._audio = name, rate_hz, audio

  def blocks(self) -> Iterator[np.ndarray]:
    yield self._audio

  def __enter__(self) -> "_Record":
    return self

  def __exit__(self, *unused: object) -> None:
    pass


class _File:
  """The sound of a file that must stay as it is while it is read."""

  def __init__(self, path: pathlib.Path, size: int):
    self.name = console.shown(path)
    self._path = path
    self._before = self._stat()
    if size >= 0 and self._before[0] != size:
      raise self._changed(f"{size} bytes then, {self._before[0]} now")
    self._file = reading.opened(path, name=self.name)
    self.rate_hz, self.channels = self._file.rate_hz, self._file.channels

  @property
  def damage(self) -> str:
    return self._file.damage

  def blocks(self) -> Iterator[np.ndarray]:
    yield from self._file.blocks()
    if self._stat() != self._before:
      raise self._changed("while it was read")

  def _stat(self) -> tuple[int, int]:
    try:
      found = os.stat(self._path)
    except OSError as error:
      raise errors.InputError(
        f"{self.name}: it is gone since the work was begun ({error.strerror})."
      ) from None
    return found.st_size, found.st_mtime_ns

  def _changed(self, how: str) -> errors.InputError:
    return errors.InputError(
      f"{self.name}: it has changed since the work was begun ({how})."
    )

  def __enter__(self) -> "_File":
    return self

  def __exit__(self, *unused: object) -> None:
    self._file.close()


def text(name: str | os.PathLike) -> str:
  """Names are bytes; those that are not UTF-8 get backslashes."""
  return os.fsencode(name).decode("utf-8", "backslashreplace")


def _size(path: pathlib.Path) -> int:
  """Returns the bytes of a file; -1: it is gone, which its turn will show."""
  try:
    return path.stat().st_size
  except OSError:
    return -1


def _digest(folder: pathlib.Path) -> str:
  """Returns what tells a dataset from others: what lies beside its shards."""
  digest = hashlib.sha256()
  for path in sorted(folder.iterdir()):
    if path.suffix in (".json", ".npy"):
      digest.update(f"{path.name} ".encode() + path.read_bytes())
  return digest.hexdigest()
