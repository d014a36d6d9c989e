"""`soundstream pin`: keeps a checkpoint from being pruned, or lets it go."""

import argparse

from soundstream_jax import console, errors
from soundstream_jax.cli import options

HELP = "keep a checkpoint that files need"


def add_arguments(parser: options.Parser) -> None:
  parser.add_argument(
    "--model",
    required=True,
    type=options.path,
    metavar="WORKDIR",
    help=options.WORKDIR,
  )
  parser.add_argument(
    "--step", required=True, type=options.step, metavar="N", help="or 'best'"
  )
  parser.add_argument("--remove", action="store_true", help="unpin it")


def run(arguments: argparse.Namespace) -> None:
  """Pins or unpins a step and prints those that are pinned.

  Raises:
    InputError: no such step, or one to be unpinned that is not pinned.
  """
  from soundstream_jax.checkpoint import best, folder

  workdir, step = arguments.model, arguments.step
  if step == best.BEST or not arguments.remove:
    step = best.chosen(workdir, step)
  if not arguments.remove:
    with errors.writing("the pin", workdir):
      folder.pin(workdir, step)
  elif step in folder.pinned(workdir):
    with errors.writing("the pins", workdir):
      folder.unpin(workdir, step)
  else:
    raise errors.InputError(
      f"{workdir}: step {step} is not pinned. Pinned: {_pins(workdir)}."
    )
  print(f"{console.shown(workdir)}: pinned: {_pins(workdir)}")


def _pins(workdir: str) -> str:
  from soundstream_jax.checkpoint import folder

  return ", ".join(map(str, sorted(folder.pinned(workdir)))) or "none"
