"""`soundstream tokens`: a dataset, or a folder, into codes to train on.

Any number of the same command may run at once on one --out, on one machine or
on several that share the folder; the same command resumes. docs/tokens.md says
what comes of it. jax is imported by the run.
"""

import argparse
import contextlib
import pathlib
import sys
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from soundstream_jax import console, errors
from soundstream_jax.cli import model_check, options, printing
from soundstream_jax.cli.files import progress

if TYPE_CHECKING:
  from soundstream_jax.codec import trained_model
  from soundstream_jax.codec.tokens import inputs, shards
  from soundstream_jax.codec.tokens import plan as plan_lib

HELP = "dataset, or folder of audio -> arrays of codes to train on"

_MOST_CODES = 1 << 16  # of a codebook, in uint16
# Between two lines that say that it waits.
_SAY_SECONDS = 30.0


def add_arguments(parser: options.Parser) -> None:
  parser.add_argument(
    "--data",
    required=True,
    type=options.path,
    metavar="FOLDER",
    help="a prepared dataset, or a folder of audio files",
  )
  parser.add_argument(
    "--out",
    required=True,
    type=options.path,
    metavar="FOLDER",
    help="new, empty, or begun by the same command, which goes on with it",
  )
  options.add_model(parser)
  options.add_denoise(parser, "encoder")
  options.add_bitrate(parser)
  parser.add_argument(
    "--mono",
    action="store_true",
    help="mix the channels into one; else each is a sequence of its own",
  )
  parser.add_argument(
    "--workers",
    type=_count,
    metavar="N",
    help="shards that are encoded at once; default: all cores and devices",
  )


def run(arguments: argparse.Namespace) -> None:
  """Encodes what is not encoded yet, and prints what there is.

  Raises:
    InputError: what cannot be encoded or written; of single items, at the end.
    DiskError: the disk cannot be written to.
  """
  from soundstream_jax.codec.tokens import index, inputs, shards
  from soundstream_jax.codec.tokens import plan as plan_lib

  errors.check_mounted("--out", arguments.out)
  out = pathlib.Path(arguments.out)
  data = inputs.find(arguments.data)
  if data.left_out:
    print(f"left out: {data.left_out}", file=sys.stderr)
  plan_lib.check_out(out)
  model = model_check.load(arguments)
  size = model.rates.codebook_size
  if size > _MOST_CODES:
    raise errors.InputError(
      f"--model={arguments.model} has quantizer.codebook_size={size}, and "
      f"tokens are of 16 bits. Use a model of at most {_MOST_CODES}."
    )
  model.check_denoise(arguments.denoise, "encoder")
  how = shards.How(
    model.layers_for(arguments.bitrate), arguments.mono, arguments.denoise
  )
  plan = plan_lib.make(
    data,
    {
      "model": model.fingerprint.hex(),
      "bitrate": str(model.rates.bitrate_bps(how.layers)),
      "mono": how.mono,
      "denoise": how.denoise,
    },
  )
  speed = "; it was there already"
  meta = index.read(out)
  if meta is None:
    plan_lib.begin(out, plan)
    speed = _encode(out, plan, data, model, how, arguments.workers)
    meta = index.finish(out, plan, data=data, model=model, how=how)
  index.check(out, meta, plan)
  index.tidy(out)
  _report(out, meta, speed)


def _encode(
  out: pathlib.Path,
  plan: "plan_lib.Plan",
  data: "inputs.Input",
  model: "trained_model.TrainedModel",
  how: "shards.How",
  threads: int | None,
) -> str:
  """Encodes what is not encoded yet; returns what to say of the speed."""
  from soundstream_jax.codec.tokens import work

  shown = progress.Progress(plan.num_items, noun=f"{data.noun}s")
  began, tokens = time.monotonic(), 0
  last = time.monotonic() - _SAY_SECONDS

  def told(done: "shards.Done") -> None:
    nonlocal tokens
    tokens += done.tokens
    shown.add(done.seconds, count=done.items)

  def waiting(count: int) -> None:
    nonlocal last
    if time.monotonic() - last >= _SAY_SECONDS:
      last = time.monotonic()
      with contextlib.suppress(OSError):
        print(
          f"waiting for {printing.count(count, 'shard')} that other processes "
          "work on",
          file=sys.stderr,
          flush=True,
        )

  work.run(
    out,
    plan,
    data=data,
    model=model,
    how=how,
    threads=threads or work.default_threads(),
    told=told,
    waiting=waiting,
  )
  speed = tokens / max(time.monotonic() - began, 1e-9)
  return f"; here {speed:.0f} tokens/s, {shown.speed:.1f} times real time"


def _report(out: pathlib.Path, meta: Mapping[str, Any], speed: str) -> None:
  """Prints what there is, and what is not.

  Raises:
    InputError: items are left out, or damaged.
  """

  for what in ("left_out", "damaged"):
    for _, line in meta[what]:
      print(f"{what.replace('_', ' ')}: {line}", file=sys.stderr)
  tokens = meta["frames"] * meta["layers"]
  print(
    f"{console.shown(out)}: {tokens} tokens of {meta['code_bits']} bits, "
    f"{meta['frames']} frames in {printing.count(meta['sequences'], 'sequence')} "
    f"of {printing.count(meta['items'] - len(meta['left_out']), meta['item'])}, "
    f"{meta['seconds']:.0f} s of audio; model step {meta['step']} "
    f"({meta['weights']}){speed}"
  )
  bad = len(meta["left_out"]) + len(meta["damaged"])
  if bad:
    raise errors.InputError(
      f"{bad} of {meta['items']} {meta['item']}s are left out or damaged; they "
      f"are listed above and in {console.shown(out)}/meta.json. Mend them and "
      "use another --out."
    )


def _count(text: str) -> int:
  """Reads a number of at least 1, for argparse."""
  if not text.isdecimal() or int(text) < 1:
    raise argparse.ArgumentTypeError(f"{text!r} is not a number of at least 1")
  return int(text)
