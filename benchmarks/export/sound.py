"""Finds real sound to compare runtimes with."""

import hashlib
import pathlib
from collections.abc import Iterator, Sequence

import numpy as np

from soundstream_jax import errors
from soundstream_jax.audio import folders, reading
from soundstream_jax.data import source as source_lib
from soundstream_jax.settings import constraints

# The longest piece that is taken of one recording.
PIECE_S = 10
# Held-out sound first: trained models have not seen it.
_SPLITS = ("test", "validation", "train")
_PREPARE = "python -m soundstream_jax.data_pipelines"
HOW = (
  "no sound: --data=DIR[,DIR] names prepared datasets, --audio=DIR a folder of "
  "wav, ogg or flac files. Real sound without an account: "
  f"`{_PREPARE}.corpora.debian_audio --out=data/debian`, then `{_PREPARE}."
  "prepare --dataset=debian_audio --kind=speech --input=data/debian "
  "--out=data/speech` (the same for music), then --data=data/speech,data/music."
)


def load(
  *,
  data: str,
  audio: str,
  seconds: Sequence[float],
  rate_hz: int,
  hop_samples: int,
) -> list[np.ndarray]:
  """Returns sounds of datasets in equal shares, or of a folder's files.

  Args:
    data: prepared datasets, as `data.sources` names them; or ''.
    audio: folder of files; or ''.
    seconds: of each sound, rounded up to whole frames. No piece is in two.
    rate_hz: of the model.
    hop_samples: of a frame.

  Returns:
    float32 [N] each, pieces of at most PIECE_S one after the other.

  Raises:
    InputError: neither is named, both are, or they hold less.
  """
  if bool(data) == bool(audio):
    raise errors.InputError(HOW)
  if audio:
    sources = [_of_files(audio, rate_hz)]
  else:
    named = constraints.parse_sources(data)
    sources = [_of_dataset(folder, rate_hz) for folder, _ in named]
  sounds = []
  for wanted in seconds:
    needed = -(-round(wanted * rate_hz) // hop_samples) * hop_samples
    share = -(-needed // len(sources))
    found = np.concatenate([_first(pieces, share) for pieces in sources])
    if len(found) < needed:
      raise errors.InputError(
        f"{data or audio} holds {len(found) / rate_hz:.1f} s of sound where "
        f"{wanted:g} s are asked for, the same share from each dataset. Name "
        "more, or ask for less: --seconds, --fit_seconds."
      )
    sounds.append(found[:needed])
  return sounds


def digest(audio: np.ndarray) -> str:
  """Returns a short name of these samples."""
  return hashlib.sha256(np.ascontiguousarray(audio)).hexdigest()[:12]


def _first(pieces: Iterator[np.ndarray], samples: int) -> np.ndarray:
  taken, count = [np.zeros(0, np.float32)], 0
  for piece in pieces:
    taken.append(piece[: samples - count])
    count += len(taken[-1])
    if count == samples:
      break
  return np.concatenate(taken)


def _of_dataset(folder: str, rate_hz: int) -> Iterator[np.ndarray]:
  source = _held_out(folder, rate_hz)
  for index in _spread(len(source)):
    yield source[index]["audio"].astype(np.float32) / (1 << 15)


def _held_out(folder: str, rate_hz: int) -> source_lib.Source:
  for split in _SPLITS[:-1]:
    try:
      return source_lib.open_source(folder, split, rate_hz, field="--data")
    except source_lib.SplitMissing:
      continue
  return source_lib.open_source(folder, _SPLITS[-1], rate_hz, field="--data")


def _of_files(folder: str, rate_hz: int) -> Iterator[np.ndarray]:
  files: Sequence[pathlib.Path] = folders.walk(folder).files
  for index in _spread(len(files)):
    whole = reading.read_mono(files[index], sample_rate_hz=rate_hz)
    yield np.asarray(whole[: PIECE_S * rate_hz], np.float32)


def _spread(count: int) -> np.ndarray:
  """Returns all numbers below `count`, neighbours far apart, as drawn once."""
  return np.random.default_rng(0).permutation(count)
