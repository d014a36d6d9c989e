"""What `soundstream tables` does: measures how often a model's codes occur."""

import argparse
import math
from collections.abc import Sequence

import numpy as np

from soundstream_jax import errors
from soundstream_jax.codec.cli import model_check
from soundstream_jax.codec.sstr.entropy import (
  frequencies,
  plane_coder,
  table_files,
)
from soundstream_jax.codec.sstr.entropy import tables as tables_lib

# Audio and datasets are imported where the command needs them: --help and a
# mistyped option answer at once.

# At most this much of a record, so that many records are heard.
PIECE_S = 10
# Planes of this many frames are coded to see what tables save.
PLANE_FRAMES = 256


def add_arguments(parser: argparse.ArgumentParser) -> None:
  """Adds what `tables` has beside the arguments of a model."""
  parser.add_argument(
    "--data",
    required=True,
    metavar="DIR[,DIR]",
    help="prepared datasets; each is heard equally long",
  )
  parser.add_argument(
    "--split", default="train", help="of the datasets; default: train"
  )
  parser.add_argument(
    "--seconds",
    type=_seconds,
    default=1200.0,
    metavar="S",
    help="of audio in all; default: 1200",
  )


def tables(arguments: argparse.Namespace) -> None:
  """Measures tables, stores them in the workdir and prints what they save."""
  folders = [name for name in arguments.data.split(",") if name]
  if not folders:
    raise errors.InputError(
      f"--data={arguments.data}: names no dataset. Use --data=DIR or "
      "--data=DIR,DIR."
    )
  codec = model_check.load(arguments)
  codes = encoded(
    codec, folders, split=arguments.split, seconds=arguments.seconds
  )
  made, savings = measure(
    codes, codebook_size=codec.codebook_size, fingerprint=codec.fingerprint
  )
  path = table_files.write(arguments.model, made)
  frames = sum(map(len, codes))
  print(
    f"{frames} frames, {float(frames / codec.frame_rate):.0f} s of the "
    f"split {arguments.split!r} of {', '.join(folders)}"
  )
  print(to_text(made, savings))
  print(f"{path}: for step {codec.step} ({codec.weights})")


def encoded(
  codec, folders: Sequence[str], *, split: str, seconds: float
) -> list[np.ndarray]:
  """Encodes parts of a split's records, the same ones every time.

  Args:
    codec: a `codec.Codec`.
    folders: prepared datasets; each gives an equal share, or all it has.
    split: of the datasets.
    seconds: of audio in all.

  Returns:
    int32 codes [F, Q] of each part, the datasets one after the other.

  Raises:
    InputError: a dataset that cannot be read, or has no such split.
  """
  from soundstream_jax.audio import io
  from soundstream_jax.data import source as source_lib

  rate = codec.sample_rate
  sources = [
    source_lib.open_source(folder, split, rate, field="--data")
    for folder in folders
  ]
  share = math.ceil(seconds * rate / len(sources))
  found = []
  for source in sources:
    left = share
    random = np.random.default_rng(0)
    for index in random.permutation(len(source)):
      audio = source[int(index)]["audio"]
      length = min(len(audio), PIECE_S * rate, left)
      start = int(random.integers(len(audio) - length + 1))
      found.append(codec.encode(io.to_float32(audio[start : start + length])))
      left -= length
      if not left:
        break
  return found


def measure(
  codes: Sequence[np.ndarray], *, codebook_size: int, fingerprint: bytes
) -> tuple[tables_lib.Tables, np.ndarray]:
  """Makes tables of codes, and measures what such tables save.

  The saving is what tables of every other part save on the parts between: a
  table fits what it was made of better than anything else.

  Args:
    codes: [F, Q] of each part.
    codebook_size: K.
    fingerprint: of the model.

  Returns:
    Tables of all codes, and the share of bytes saved per layer, float64 [Q].

  Raises:
    InputError: too few codes.
  """
  halves = [codes[0::2], codes[1::2]]
  if min(sum(map(len, half)) for half in halves) < PLANE_FRAMES:
    raise errors.InputError(
      f"{sum(map(len, codes))} frames are too few to measure tables on. Use "
      "more records of more audio, or more --seconds."
    )
  halves = [np.concatenate(half) for half in halves]
  counts = [count(half, codebook_size) for half in halves]
  tried = frequencies.from_counts(counts[0], fingerprint=fingerprint)
  made = frequencies.from_counts(sum(counts), fingerprint=fingerprint)
  return made, saving(halves[1], tried, frames=PLANE_FRAMES)


def count(codes: np.ndarray, codebook_size: int) -> np.ndarray:
  """Returns how often each code occurs in codes [F, Q], int64 [Q, K]."""
  return np.stack(
    [np.bincount(layer, minlength=codebook_size) for layer in codes.T]
  )


def saving(
  codes: np.ndarray, made: tables_lib.Tables, *, frames: int
) -> np.ndarray:
  """Codes [F, Q] in planes; returns the share of bytes saved per layer [Q]."""
  planes, layers = to_planes(codes, frames=frames)
  blobs = plane_coder.encode_planes(planes, layers, made)
  lengths = np.reshape([len(blob) for blob in blobs], (-1, codes.shape[1]))
  return 1 - lengths.mean(axis=0) / plane_coder.packed_bytes(frames, made)


def to_planes(
  codes: np.ndarray, *, frames: int
) -> tuple[np.ndarray, np.ndarray]:
  """Codes [F, Q] -> planes [F // frames * Q, frames] and their layers.

  What is left over at the end is left out.
  """
  chunks, layers = len(codes) // frames, codes.shape[1]
  whole = codes[: chunks * frames].reshape(chunks, frames, layers)
  planes = whole.transpose(0, 2, 1).reshape(-1, frames)
  return planes, np.tile(np.arange(layers), chunks)


def entropy_bits(made: tables_lib.Tables) -> np.ndarray:
  """Returns the entropy of each layer's table in bits per code, float64 [Q]."""
  share = made.frequencies / (1 << made.precision)
  return -np.sum(share * np.log2(share), axis=1)


def to_text(made: tables_lib.Tables, savings: np.ndarray) -> str:
  """Returns a table of the layers, with the mean of each and those before."""
  lines = [
    f"layer  bits of {made.code_bits:>2}  saving  layers to here",
    *(
      f"{i + 1:>5}  {bits:>10.3f}  {100 * saved:>5.1f}%  "
      f"{100 * savings[: i + 1].mean():>13.1f}%"
      for i, (bits, saved) in enumerate(
        zip(entropy_bits(made), savings, strict=True)
      )
    ),
  ]
  return "\n".join(lines)


def _seconds(text: str) -> float:
  try:
    value = float(text)
  except ValueError:
    value = math.nan
  if not 0 < value < math.inf:
    raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds")
  return value
