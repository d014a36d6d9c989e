"""Encodes a shard: some items of a plan -> an array of codes and its index.

A shard is made of the plan and its number alone, so any process may make it, on
any machine that shares the folder, in any order. It is complete when its part
of the index is there:

  codes-NNNNN.npy         uint16 [frames, q]; not there if it would be empty
  unfinished/NNNNN.json   `Part`
"""

import contextlib
import dataclasses
import json
import pathlib
import shutil
import tempfile
from collections.abc import Callable
from typing import Any, BinaryIO

import numpy as np

from soundstream_jax import console, errors, whole_files
from soundstream_jax.codec import recording, trained_model
from soundstream_jax.codec.tokens import inputs
from soundstream_jax.codec.tokens import plan as plan_lib

DTYPE = np.dtype("<u2")
# Beyond it the codes of other channels than the first wait on the disk.
_WAITING_BYTES = 1 << 20


@dataclasses.dataclass(frozen=True)
class How:
  """How items are encoded."""

  layers: int  # q
  mono: bool  # the mean of the channels
  denoise: bool


@dataclasses.dataclass(frozen=True)
class Done:
  """Work that is done."""

  seconds: float = 0.0  # of audio
  tokens: int = 0
  items: int = 0


Told = Callable[[Done], None]


@dataclasses.dataclass
class Part:
  """Result of a shard.

  Attributes:
    frames: of all its sequences.
    sequences: their lines of the index.
    left_out: [source, a line on why] of items that could not be read.
    damaged: [source, a line on what] of items of which a part was read.
    device: that encoded them.
  """

  frames: int = 0
  sequences: list[dict[str, Any]] = dataclasses.field(default_factory=list)
  left_out: list[list[str]] = dataclasses.field(default_factory=list)
  damaged: list[list[str]] = dataclasses.field(default_factory=list)
  device: str = ""


def name(number: int) -> str:
  """Returns the name of a shard's file."""
  return f"codes-{number:05d}.npy"


def load(out: pathlib.Path, number: int) -> Part | None:
  """Returns a shard's part of the index; None: the shard is not complete."""
  try:
    return Part(**json.loads(part_path(out, number).read_bytes()))
  except (FileNotFoundError, ValueError, TypeError):
    return None


def done(out: pathlib.Path, number: int) -> bool:
  """True where a shard is complete."""
  return part_path(out, number).exists()


def build(
  out: pathlib.Path,
  plan: plan_lib.Plan,
  number: int,
  *,
  data: inputs.Input,
  model: trained_model.TrainedModel,
  how: How,
  told: Told,
) -> None:
  """Encodes a shard.

  Args:
    told: called with the work since the last call. May raise, to end it.

  Raises:
    DiskError, InputError: the folder cannot be written to.
  """
  shard = plan.shards[number]
  part = Part(device=model.device.device_kind)
  with whole_files.opened(out / name(number)) as opened:
    file = _File(opened, how.layers)
    for item in shard.numbers:
      try:
        found = _encode(file, data, shard.split, item, model, how, told)
      except errors.InputError as error:
        file.forget()
        source, why = data.source(shard.split, item), console.line(error)
        part.left_out.append([source, why])
      else:
        part.sequences += [
          {"shard": name(number), **entry} for entry in found.sequences
        ]
        part.damaged += found.damaged
        file.keep()
      told(Done(items=1))
    file.end()
    part.frames = file.frames
  with errors.writing("tokens", out):
    if not part.frames:  # an array of no frames cannot be mapped
      (out / name(number)).unlink()
  whole_files.write(
    part_path(out, number), json.dumps(dataclasses.asdict(part))
  )


def part_path(out: pathlib.Path, number: int) -> pathlib.Path:
  """Returns where a shard's part of the index is."""
  return out / plan_lib.FOLDER / f"{number:05d}.json"


def _encode(
  file: "_File",
  data: inputs.Input,
  split: str,
  number: int,
  model: trained_model.TrainedModel,
  how: How,
  told: Told,
) -> Part:
  """Encodes an item behind the others.

  Raises:
    InputError: it cannot be read; some of its codes may have been written.
  """
  item = data.open(split, number)
  samples, found = 0, Part()
  with item.sound as sound, contextlib.ExitStack() as stack:
    waiting = []
    for read, codes in recording.encode(
      model,
      sound,
      mono=how.mono,
      bitrate_bps=model.rates.bitrate_bps(how.layers),
      denoise=how.denoise,
    ):
      samples += read
      first, *others = codes.astype(DTYPE)
      file.add(first.tobytes())
      if not waiting:  # the other channels' codes follow the first's
        waiting = [
          stack.enter_context(tempfile.SpooledTemporaryFile(_WAITING_BYTES))
          for _ in others
        ]
      for other, more in zip(waiting, others, strict=True):
        other.write(more.tobytes())
      told(Done(read / sound.rate_hz, codes.size))
    frames = file.added
    for other in waiting:
      other.seek(0)
      file.copy(other)
    for channel in range(1 + len(waiting)):
      found.sequences.append(
        {
          "start": file.frames + channel * frames,
          "frames": frames,
          "source": item.source,
          "channel": channel,
          "split": split or None,
          "group": item.group,
          "record": item.record,
          "samples": samples,
          "rate_hz": sound.rate_hz,
        }
      )
    if sound.damage:
      what = console.line(f"{sound.name}: {sound.damage}")
      found.damaged.append([data.source(split, number), what])
  return found


class _File:
  """An array file [frames, q] that grows, item by item.

  Attributes:
    frames: that are kept.
  """

  def __init__(self, file: BinaryIO, layers: int):
    self._file, self._layers = file, layers
    self.frames = 0
    self._head()
    self._start = file.tell()

  @property
  def added(self) -> int:
    """Frames since the last that are kept."""
    return self._frames_to(self._file.tell()) - self.frames

  def add(self, data: bytes) -> None:
    self._file.write(data)

  def copy(self, file: BinaryIO) -> None:
    shutil.copyfileobj(file, self._file)

  def keep(self) -> None:
    """Keeps what was added."""
    self.frames += self.added

  def forget(self) -> None:
    """Takes back what was added."""
    frame_bytes = self._layers * DTYPE.itemsize
    self._file.seek(self._start + self.frames * frame_bytes)
    self._file.truncate()

  def end(self) -> None:
    self._head()

  def _frames_to(self, place: int) -> int:
    return (place - self._start) // (self._layers * DTYPE.itemsize)

  def _head(self) -> None:
    """Writes the head; numpy leaves room in it for any number of frames."""
    self._file.seek(0)
    np.lib.format.write_array_header_1_0(
      self._file,
      {
        "descr": DTYPE.str,
        "fortran_order": False,
        "shape": (self.frames, self._layers),
      },
    )
