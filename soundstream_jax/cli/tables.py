"""`soundstream tables`: measures how often the codes of a model occur.

Audio and datasets are imported by the run, so that --help and a mistyped option
answer at once.
"""

import argparse
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from soundstream_jax import console, errors, paths
from soundstream_jax.cli import model_check, options
from soundstream_jax.codec.sstr.entropy import measuring, table_files
from soundstream_jax.codec.sstr.entropy import tables as tables_lib
from soundstream_jax.settings import lists

if TYPE_CHECKING:
  from soundstream_jax.codec import trained_model

HELP = "measure how often codes occur, for encode --entropy"
# At most this much of a record, so that many records are heard.
PIECE_S = 10


def add_arguments(parser: options.Parser) -> None:
  options.add_model(parser)
  parser.add_argument(
    "--data",
    required=True,
    type=options.paths_of,
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


def run(arguments: argparse.Namespace) -> None:
  """Measures tables, stores them in the workdir and prints what they save.

  Raises:
    InputError: no such model or dataset, or too little audio.
  """
  from soundstream_jax.data import dataset_folder

  folders = lists.split(arguments.data)
  if not folders:
    raise errors.InputError(
      f"--data={arguments.data}: names no dataset. Use --data=DIR or "
      "--data=DIR,DIR."
    )
  # Hours may pass until they are written.
  paths.check_writable_folder(f"--model={arguments.model}", arguments.model)
  for name in folders:
    with errors.reading(f"--data={name}"):
      dataset_folder.find(name, "--data")
  model = model_check.load(arguments)
  codes = encoded(
    model, folders, split=arguments.split, seconds=arguments.seconds
  )
  made, savings = measuring.measure(
    codes,
    codebook_size=model.rates.codebook_size,
    fingerprint=model.fingerprint,
  )
  path = table_files.write(arguments.model, made)
  frames = sum(map(len, codes))
  print(
    f"{frames} frames, {float(frames / model.rates.frame_rate_hz):.0f} s of "
    f"the split {arguments.split!r} of {', '.join(map(console.shown, folders))}"
  )
  print(to_text(made, savings))
  print(f"{console.shown(path)}: for step {model.step} ({model.weights})")


def encoded(
  model: "trained_model.TrainedModel",
  folders: Sequence[str],
  *,
  split: str,
  seconds: float,
) -> list[np.ndarray]:
  """Encodes pieces of a split's records, the same ones every time.

  Args:
    model: that encodes.
    folders: prepared datasets; each gives an equal share, or all it has.
    split: of the datasets.
    seconds: of audio in all.

  Returns:
    int32 codes [F, Q] of each piece, the datasets one after the other.

  Raises:
    InputError: a dataset that cannot be read, or has no such split.
  """
  from soundstream_jax.audio import waveform
  from soundstream_jax.codec import offline
  from soundstream_jax.data import source as source_lib

  rate = model.rates.sample_rate_hz
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
      piece = waveform.to_float32(audio[start : start + length])
      found.append(offline.encode(model, piece))
      left -= length
      if not left:
        break
  return found


def to_text(made: tables_lib.Tables, savings: np.ndarray) -> str:
  """Returns a table of the layers, with the mean of each and those before."""
  lines = [
    f"layer  bits of {made.code_bits:>2}  saving  layers to here",
    *(
      f"{i + 1:>5}  {bits:>10.3f}  {100 * saved:>5.1f}%  "
      f"{100 * savings[: i + 1].mean():>13.1f}%"
      for i, (bits, saved) in enumerate(
        zip(measuring.entropy_bits(made), savings, strict=True)
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
