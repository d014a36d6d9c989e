"""Finishes a folder of codes: its index and what it is made of.

  index.jsonl   a sequence of codes a line, in the order of the input
  meta.json     what the codes are; the folder is complete when it is there

Both are described in docs/tokens.md.
"""

import contextlib
import json
import pathlib
import shutil
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

import soundstream_jax
from soundstream_jax import console, errors, whole_files
from soundstream_jax.codec import trained_model
from soundstream_jax.codec.tokens import inputs, shards
from soundstream_jax.codec.tokens import plan as plan_lib

INDEX = "index.jsonl"
FORMAT = "soundstream tokens"
VERSION = 1


def complete(out: pathlib.Path) -> bool:
  """True where a folder is finished."""
  return (out / plan_lib.META).exists()


def read(out: pathlib.Path) -> dict[str, Any] | None:
  """Returns meta.json; None: the folder is not finished.

  Raises:
    InputError: it is of another version, or a file, or may not be read.
  """
  try:
    meta = json.loads((out / plan_lib.META).read_bytes())
    if (meta["format"], meta["version"]) == (FORMAT, VERSION):
      return meta
  except FileNotFoundError:
    return None
  except OSError as error:
    where = console.shown(out)
    raise errors.InputError(
      f"--out={where} is a file. Name a folder."
      if isinstance(error, NotADirectoryError)
      else f"--out={where} cannot be read ({error.strerror}). Change its "
      "permissions, or use another folder."
    ) from None
  except (ValueError, KeyError, TypeError):
    pass
  raise errors.InputError(
    f"--out={console.shown(out)}: its {plan_lib.META} is damaged, or of another "
    "format. Name a folder that is new or empty."
  )


def check(out: pathlib.Path, meta: Mapping, plan: plan_lib.Plan) -> None:
  """Refuses a finished folder that another command made.

  Raises:
    InputError: with what is different.
  """
  made_of = meta["made_of"]
  same_input = made_of["input"] == plan.digest
  reason = plan_lib.difference(made_of["settings"], plan.settings, same_input)
  if reason:
    raise errors.InputError(
      f"--out={console.shown(out)} {reason}. It is finished: use another --out."
    )


def finish(
  out: pathlib.Path,
  plan: plan_lib.Plan,
  *,
  data: inputs.Input,
  model: trained_model.TrainedModel,
  how: shards.How,
) -> dict[str, Any]:
  """Makes the index of complete shards, then meta.json, which it returns.

  Several processes may do so at once: they write the same.

  Raises:
    DiskError, InputError: the folder cannot be written to.
  """
  try:
    if not complete(out):
      meta = _describe(plan, data=data, model=model, how=how)
      _assemble(out, plan, meta)
      text = json.dumps(meta, indent=1) + "\n"
      whole_files.write(out / plan_lib.META, text)
  except (errors.InputError, errors.DiskError):
    if not complete(out):  # else another process was faster
      raise
  tidy(out)
  return read(out)


def tidy(out: pathlib.Path) -> None:
  """Removes what a finished folder does not need.

  What killed processes were writing; and what one that came late has begun.
  """
  for path in out.glob(f".*{whole_files.SUFFIX}"):
    with contextlib.suppress(OSError):
      path.unlink()
  shutil.rmtree(out / plan_lib.FOLDER, ignore_errors=True)


def _assemble(
  out: pathlib.Path, plan: plan_lib.Plan, meta: dict[str, Any]
) -> None:
  """Writes the index, and adds to `meta` what is in it."""
  devices = set()
  with whole_files.opened(out / INDEX) as file:
    for number in range(len(plan.shards)):
      part = shards.load(out, number)
      if part is None:
        raise errors.InputError(
          f"--out={console.shown(out)}: {shards.part_path(out, number)} is damaged. "
          "Remove it, and run the same command again."
        )
      for entry in part.sequences:
        file.write(json.dumps(entry).encode() + b"\n")
        meta["seconds"] += entry["samples"] / entry["rate_hz"]
      if part.frames:
        meta["shards"][shards.name(number)] = part.frames
      meta["sequences"] += len(part.sequences)
      meta["frames"] += part.frames
      meta["left_out"] += part.left_out
      meta["damaged"] += part.damaged
      devices.add(part.device)
  meta["devices"] = sorted(devices)


def _describe(
  plan: plan_lib.Plan,
  *,
  data: inputs.Input,
  model: trained_model.TrainedModel,
  how: shards.How,
) -> dict[str, Any]:
  """Returns what meta.json says before there are codes."""
  rates = model.rates
  return {
    "format": FORMAT,
    "version": VERSION,
    "layers": how.layers,
    "code_bits": rates.bits_per_code,
    "codebook_size": rates.codebook_size,
    "frame_rate_hz": str(Fraction(rates.frame_rate_hz)),
    "sample_rate_hz": rates.sample_rate_hz,
    "hop_samples": rates.hop_samples,
    "bitrate_bps": str(rates.bitrate_bps(how.layers)),
    "mono": how.mono,
    "denoise": how.denoise,
    "fingerprint": model.fingerprint.hex(),
    "step": model.step,
    "weights": model.weights,
    "devices": [],
    "items": plan.num_items,
    "item": data.noun,
    "sequences": 0,
    "frames": 0,
    "seconds": 0.0,
    "shards": {},
    "left_out": [],
    "damaged": [],
    "made_of": {"settings": dict(plan.settings), "input": plan.digest},
    "made_by": f"soundstream_jax {soundstream_jax.__version__}",
  }
