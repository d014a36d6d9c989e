"""`soundstream export`: a checkpoint into folders that others open.

One format is written into FOLDER itself, several into a folder of each one's
name below it.
"""

import argparse
import dataclasses
import pathlib

from soundstream_jax import console, errors, paths
from soundstream_jax.cli import model_check, options
from soundstream_jax.codec.sstr.entropy import table_files

HELP = "a checkpoint -> safetensors, ONNX, LiteRT, PyTorch and others"
LIST = "list"


def add_arguments(parser: options.Parser) -> None:
  parser.add_argument("output", type=options.path, metavar="FOLDER", nargs="?")
  options.add_model(parser, required=False)
  parser.add_argument(
    "--format",
    default="params",
    metavar="A,B",
    help="params (default), onnx, litert, stablehlo, torch, hf, web; or "
    "'list': what the model can become, and why not",
  )
  parser.add_argument(
    "--num_quantizers",
    type=int,
    metavar="N",
    help="write the first N quantizer layers alone",
  )
  parser.add_argument(
    "--dtype",
    choices=("float32", "float16"),
    default="float32",
    help="of the weights in params; float16 is a model of its own",
  )
  parser.add_argument(
    "--compute_dtype",
    choices=("float32",),
    help="write a bfloat16 model's parameters as a float32 model",
  )
  parser.add_argument(
    "--denoise",
    action="store_true",
    help="the switch of a model that denoises is on, in formats that have none",
  )
  parser.add_argument(
    "--licence", default="", metavar="TEXT", help="of the weights"
  )
  parser.add_argument(
    "--data", default="", metavar="TEXT", help="that they were trained on"
  )
  parser.add_argument(
    "--with_training",
    action="store_true",
    help="add to params what a run needs to go on from it "
    "(--config.init_from): raw parameters, codebooks' statistics, "
    "discriminators",
  )
  parser.add_argument(
    "--check",
    type=options.path,
    metavar="FOLDER",
    help="check what was exported: no file changed, the same numbers in every "
    "runtime that is installed",
  )


def run(arguments: argparse.Namespace) -> int | None:
  """Writes folders and prints their sizes and parity, or checks some.

  Returns:
    1 where a check fails.

  Raises:
    InputError: no such checkpoint, a folder that holds a model already, a
      format that cannot hold the model, or options that do not go together.
    DiskError: the disk cannot be written to.
  """
  if arguments.check is not None:
    return _check(arguments)
  if arguments.model is None:
    raise errors.InputError(
      "soundstream export: --model=FOLDER is missing: a training run's "
      "workdir, or an exported model."
    )
  if arguments.format == LIST:
    return _list(arguments)
  if arguments.output is None:
    raise errors.InputError(
      "soundstream export: FOLDER is missing, where to write."
    )
  return _write(arguments)


def _write(arguments: argparse.Namespace) -> int | None:
  paths.check_writable_folder(arguments.output, arguments.output)
  from soundstream_jax.checkpoint import exported, origin, training_file
  from soundstream_jax.export import folder, formats

  names = formats.of(arguments.format)
  if arguments.with_training:
    _check_training(arguments, names)
  chosen = _options(arguments)
  model = model_check.load(arguments)
  arrays = _arrays(model, arguments)
  formats.check(names, arrays.config, chosen)
  tables = table_files.all_for_model(arguments.model, model.fingerprint)
  beside = {table_files.name(made): made.to_bytes() for made in tables}
  if arguments.with_training:
    beside[training_file.NAME] = origin.to_training_file(
      arguments.model, arrays
    )
  output = pathlib.Path(arguments.output)
  several = len(names) > 1
  folders = {name: output / name if several else output for name in names}
  failed = False
  for name, written in folder.write_each(
    folders,
    arrays,
    chosen,
    # Tables and training belong to the very model.
    beside={"params": beside} if _is_whole(arguments) else {},
  ):
    mark = exported.fingerprint_of(written.model)
    size, more = written.size, ""
    if name == "params" and training_file.NAME in beside:
      more = f" and {len(beside[training_file.NAME])} for training"
      size -= len(beside[training_file.NAME])
    print(
      f"{console.shown(folders[name])}: {name}, {size} bytes{more}, "
      f"step {arrays.step} ({arrays.weights}), fingerprint {mark.hex()[:12]}"
    )
    failed |= _say(written.rows, formats.FORMATS[name])
  return 1 if failed else None


def _say(rows, written) -> bool:
  """Prints the card; returns whether a runtime failed."""
  from soundstream_jax.export import formats

  for row in rows:
    print(f"  {_verdict(row)}")
  absent = formats.missing_packages(list(written.runtimes))
  if absent:
    print(f"  not checked in {', '.join(absent)}, which is not installed")
  return not all(row.passes for row in rows)


def _verdict(row) -> str:
  share = row.different / max(1, row.codes)
  verdict = "exact" if row.passes else "FAILED"
  excused = f", {row.excused} of them near ties" if row.excused else ""
  return (
    f"{row.runtime} {row.version}: {row.different} of {row.codes} codes differ "
    f"({share:.2%}){excused}, audio within {row.audio:.1e}: "
    f"{'lossy' if row.lossy else verdict}"
  )


def _list(arguments: argparse.Namespace) -> None:
  from soundstream_jax.export import formats

  model = model_check.load(arguments)
  arrays = _arrays(model, arguments)
  print("\n".join(formats.describe(arrays.config, _options(arguments))))


def _check(arguments: argparse.Namespace) -> int | None:
  from soundstream_jax.export import check, formats

  failed = False
  for folder in check.folders(arguments.check):
    checked = check.check(folder)
    verdict = "as it was written" if checked.passes else "FAILED"
    print(f"{console.shown(folder)}: {checked.name}, {verdict}")
    for line in checked.changes:
      print(f"  {console.shown(line)}")
    _say(checked.rows, formats.FORMATS[checked.name])
    failed |= not checked.passes
  return 1 if failed else None


def _options(arguments: argparse.Namespace):
  from soundstream_jax.export import format as format_lib

  return format_lib.Options(
    num_quantizers=arguments.num_quantizers,
    dtype=arguments.dtype,
    denoise=arguments.denoise,
    licence=arguments.licence,
    data=arguments.data,
  )


def _arrays(model, arguments: argparse.Namespace):
  """Returns the model to write."""
  arrays = model.to_host()
  if arguments.compute_dtype:
    config = arrays.config
    changed = dataclasses.replace(
      config.model, compute_dtype=arguments.compute_dtype
    )
    arrays = dataclasses.replace(
      arrays, config=dataclasses.replace(config, model=changed)
    )
  return arrays


def _is_whole(arguments: argparse.Namespace) -> bool:
  """Whether the model that is written is the one that was loaded."""
  return (
    arguments.num_quantizers is None
    and arguments.dtype == "float32"
    and arguments.compute_dtype is None
  )


def _check_training(arguments: argparse.Namespace, names: tuple) -> None:
  if "params" not in names or not _is_whole(arguments):
    raise errors.InputError(
      "--with_training goes with --format=params, and with neither "
      "--num_quantizers, --dtype nor --compute_dtype: a run goes on from the "
      "very model. Leave these out."
    )
