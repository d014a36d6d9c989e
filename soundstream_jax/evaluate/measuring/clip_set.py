"""Clips to measure on: of a dataset's split, or of any folder of audio.

A clip is whole or cut, and never padded: half a second of zeros adds 0.3 to
ViSQOL. What is left of a hop at its end is cut off, so that a model of any hop
has nothing to fill.
"""

import dataclasses
import hashlib
import json
import os
import pathlib
from collections.abc import Callable, Iterator, Mapping

import numpy as np

from soundstream_jax import config as config_lib
from soundstream_jax import console, errors
from soundstream_jax.audio import folders, reading, waveform
from soundstream_jax.data import dataset_folder, held_out, kinds
from soundstream_jax.evaluate.measuring import sound

# Of a folder's files, those that are longer are cut to their loudest part.
CLIP_SECONDS = 5.0
# Of clips that no folder names.
NO_CLASS = "all"
# Of speech and noise in noisy clips of a split. Ours: the paper draws it.
NOISY_SNR_DB = 10.0

_NAME_BYTES = 150


@dataclasses.dataclass(frozen=True)
class Clip:
  """One clip at the model's rate.

  Attributes:
    name: that no other clip of the set has, and that a folder may have.
    kind: its class: 'speech', 'noisy', 'music', 'noise', a folder's name, or
      'all' where nothing names one.
    source: the dataset or the folder that it is from.
    samples: T.
    digest: of its sound.
    load: gives its sound, float32 [T], always the same.
  """

  name: str
  kind: str
  source: str
  samples: int
  digest: str
  load: Callable[[], np.ndarray]


@dataclasses.dataclass(frozen=True)
class ClipSet:
  """Clips to measure on.

  Attributes:
    origin: the split, or the name of the folder.
    clips: at least one.
    left_out: one line on each that cannot be measured on, with its name.
  """

  origin: str
  sample_rate_hz: int
  clips: tuple[Clip, ...]
  left_out: tuple[str, ...] = ()

  @property
  def seconds(self) -> list[float]:
    return [clip.samples / self.sample_rate_hz for clip in self.clips]

  @property
  def digest(self) -> str:
    """Names the set: its clips, their names, classes and order."""
    listed = [(c.name, c.kind, c.digest) for c in self.clips]
    return hashlib.sha256(json.dumps(listed).encode()).hexdigest()

  def first_of_each_class(self, count: int) -> list[str]:
    """Returns the names of the first clips of every class."""
    seen: dict[str, list[str]] = {}
    for clip in self.clips:
      seen.setdefault(clip.kind, []).append(clip.name)
    return [name for names in seen.values() for name in names[:count]]


def of_split(
  config: config_lib.Config,
  *,
  split: str,
  clips: int | None = None,
  seconds: float | None = None,
) -> ClipSet:
  """Returns held-out clips, those of `held_out.held_out`.

  Of a mixture with noisy speech an equal share is that: held-out speech with
  held-out noise, NOISY_SNR_DB apart.

  Args:
    config: names the datasets.
    split: of them.
    clips: how many; None is config.evaluation.num_clips.
    seconds: of each; None is config.evaluation.clip_samples.

  Raises:
    SplitMissing: no dataset has the split.
    InputError: a dataset that cannot be read, or no record is long enough.
  """
  rate, hop = config.audio.sample_rate_hz, config.rates.hop_samples
  chosen = {}
  if clips is not None:
    chosen["num_clips"] = clips
  if seconds is not None:
    chosen["clip_samples"] = _samples(seconds, rate, hop)
  config = dataclasses.replace(
    config, evaluation=dataclasses.replace(config.evaluation, **chosen)
  )
  found = list(_heard(config, split))
  samples = sound.whole_hops(len(found[0][2]), hop)
  if not samples:
    raise errors.InputError(
      f"clips of {len(found[0][2])} samples are shorter than the model's "
      f"hop of {hop}. Use longer ones: --clip_seconds."
    )
  made, left_out = [], []
  for i, (kind, source, audio) in enumerate(found):
    name = f"{i:02d}_{_plain(pathlib.Path(source).name)}"
    # They come of 16 bits, which take half of the memory.
    pcm = waveform.to_int16(audio[:samples])
    if sound.is_silent(waveform.to_float32(pcm)):
      left_out.append(f"{name}: it is silent")
      continue
    made.append(
      Clip(
        name=name,
        kind=kind,
        source=source,
        samples=samples,
        digest=sound.digest_of(waveform.to_float32(pcm), rate),
        load=lambda pcm=pcm: waveform.to_float32(pcm),
      )
    )
  return _set_of(split, rate, made, left_out)


def _heard(
  config: config_lib.Config, split: str
) -> Iterator[tuple[str, str, np.ndarray]]:
  """Yields (class, source, sound float32 [T]) of a split."""
  mixed = set(kinds.shares(config))
  classes = 1 + len({kind.of for kind in mixed})
  count = config.evaluation.num_clips
  noisy = count // classes if kinds.NOISY in mixed else 0
  rest = dataclasses.replace(config.evaluation, num_clips=count - noisy)
  heard = held_out.held_out(
    dataclasses.replace(config, evaluation=rest), split=split
  )
  for audio, source in zip(heard.audio, heard.source_index, strict=True):
    folder = heard.source_names[source]
    yield class_of(config, folder), folder, audio[:, 0]
  if noisy:
    found = held_out.noisy(config, split=split, num=noisy, snr_db=NOISY_SNR_DB)
    for audio in found.audio:
      yield "noisy", kinds.NOISY.name, audio[:, 0]


def of_audio(
  path: str | os.PathLike,
  *,
  sample_rate_hz: int,
  hop: int,
  clips: int | None = None,
  seconds: float | None = None,
) -> ClipSet:
  """Returns a clip of every file below a folder, or of one file.

  They are mixed to one channel and get the model's rate. A class is the first
  folder below `path`.

  Args:
    path: of the folder or the file.
    sample_rate_hz: of the model.
    hop: of the model, in samples.
    clips: at most so many, of the classes in turn; None is all.
    seconds: a longer file is cut to its loudest part of this length; None is
      CLIP_SECONDS.

  Raises:
    InputError: no such folder, or nothing in it can be measured on.
  """
  found, also = files(path)
  longest = _samples(seconds or CLIP_SECONDS, sample_rate_hz, hop)
  made, left_out, names = [], [], set()
  for file, below in _in_turn(found):
    if clips is not None and len(made) == clips:
      break
    name = _plain(below.as_posix().replace("/", "__"))
    while name in names:
      name += "~"
    names.add(name)
    read = sound.Reader(file, sample_rate_hz, hop, longest)
    try:
      audio = read()
    except errors.InputError as error:
      left_out.append(console.line(error))
      continue
    made.append(
      Clip(
        name=name,
        kind=_kind(below),
        source=_kind(below),
        samples=len(audio),
        digest=sound.digest_of(audio, sample_rate_hz),
        load=dataclasses.replace(
          read, digest=sound.digest_of(audio, sample_rate_hz)
        ),
      )
    )
  made.sort(key=lambda clip: clip.name)
  origin = console.shown(pathlib.Path(os.path.abspath(path)).name)
  return _set_of(origin, sample_rate_hz, made, left_out + also)


def files(
  path: str | os.PathLike,
) -> tuple[list[tuple[pathlib.Path, pathlib.Path]], list[str]]:
  """Returns (file, its path below `path`) of audio, and what is left out.

  Raises:
    InputError: there is none, or the only file is none.
  """
  path = pathlib.Path(path)
  shown = console.shown(path)
  if not path.exists():
    raise errors.InputError(
      f"--audio={shown}: there is no such file or folder. Check the path."
    )
  if not path.is_dir():
    with reading.opened(path, name=f"--audio={shown}"):
      return [(path, pathlib.Path(path.name))], []
  walk = folders.walk(path)
  if not walk.files:
    raise errors.InputError(
      f"--audio={shown}: no audio is in this folder; it has "
      f"{folders.seen(walk.others)}."
    )
  found = [(file, file.relative_to(path)) for file in walk.files]
  return found, [walk.left_out] if walk.left_out else []


def class_of(config: config_lib.Config, folder: str) -> str:
  """Returns the class of a dataset's clips.

  The field that names it says so, or its datasheet, else it is its own.
  """
  for kind in kinds.shares(config):
    if kind.of == "sources":
      continue
    named = kinds.datasets(config, kind.of, kind)
    if folder in [place for place, _ in named]:
      return kind.of
  try:
    info = dataset_folder.find(folder, "data.sources")
    sheet = json.loads((info.parent / "datasheet.json").read_text())
    if isinstance(sheet.get("kind"), str) and sheet["kind"]:
      return sheet["kind"]
  except (OSError, ValueError, AttributeError):  # of another make
    pass
  return _plain(pathlib.Path(folder).name)


def _samples(seconds: float, rate_hz: int, hop: int) -> int:
  samples = sound.whole_hops(round(seconds * rate_hz), hop)
  if not samples:
    raise errors.InputError(
      f"--clip_seconds={seconds:g} is shorter than the model's hop of "
      f"{hop / rate_hz:.3f} s. Use longer clips."
    )
  return samples


def _set_of(
  origin: str, rate: int, made: list[Clip], left_out: list[str]
) -> ClipSet:
  if not made:
    raise errors.InputError(
      f"no clip of {origin} can be measured on: {'; '.join(left_out[:3])}."
    )
  return ClipSet(origin, rate, tuple(made), tuple(left_out))


def _in_turn(files) -> list[tuple[pathlib.Path, pathlib.Path]]:
  """Returns files of the classes in turn, so that the first N are of all."""
  classes: Mapping[str, list] = {}
  for pair in files:
    classes.setdefault(_kind(pair[1]), []).append(pair)
  longest = max(map(len, classes.values()))
  return [
    pairs[i]
    for i in range(longest)
    for pairs in classes.values()
    if i < len(pairs)
  ]


def _kind(below: pathlib.Path) -> str:
  return _plain(below.parts[0]) if len(below.parts) > 1 else NO_CLASS


def _plain(name: str) -> str:
  """Returns a name that is text, fits a file system, and is one folder's."""
  text = console.shown(name).replace("/", "_")
  if len(text.encode()) <= _NAME_BYTES and not text.startswith("."):
    return text
  mark = hashlib.sha256(text.encode()).hexdigest()[:8]
  return f"{text.encode()[:_NAME_BYTES].decode('utf-8', 'ignore')}_{mark}"
