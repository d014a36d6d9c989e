"""The model of a command: loaded, and held against what a file says of it."""

import argparse
import contextlib
import pathlib
from collections.abc import Iterator

from soundstream_jax import errors
from soundstream_jax.codec.sstr import header as header_lib
from soundstream_jax.codec.sstr import reader, version1

# jax and the model are imported where they are needed: --help and a mistyped
# path answer at once.


def load(arguments: argparse.Namespace):
  """Returns the Codec of --model, --step and --weights.

  Raises:
    InputError: no such checkpoint.
  """
  from soundstream_jax.codec import codec as codec_lib

  with _quiet():
    return codec_lib.Codec.load(
      arguments.model, step=arguments.step, weights=arguments.weights
    )


def check(
  source: pathlib.Path,
  header: reader.Header,
  codec,
  arguments: argparse.Namespace,
) -> None:
  """Refuses a file that another model made.

  Raises:
    InputError: with the checkpoint that made it, if the workdir has it; or a
      header whose fingerprint is not its own.
  """
  if codec.fingerprint != header.fingerprint:
    with _quiet():
      reason = _mismatch(header, codec, arguments)
    raise errors.InputError(f"{source}: {reason}")
  fields = [
    ("model_rate_hz", header.model_rate_hz, codec.sample_rate),
    ("hop_samples", header.hop_samples, codec.hop_samples),
    ("codebook_size", header.codebook_size, codec.codebook_size),
  ]
  if header.version != version1.VERSION:
    fields += [
      ("strides", header.strides, codec.rates.strides),
      ("model_quantizers", header.model_quantizers, codec.num_quantizers),
    ]
  for name, value, expected in fields:
    if value != expected:
      raise errors.InputError(
        f"{source}: {name}={value} contradicts the fingerprint, whose model "
        f"has {expected}."
      )


def pin(arguments: argparse.Namespace) -> None:
  """Keeps a checkpoint from being pruned, or stops keeping it."""
  from soundstream_jax.checkpoint import manager

  workdir, step = arguments.model, arguments.step
  if not arguments.remove:
    manager.pin(workdir, step)
  elif step in manager.pinned(workdir):
    manager.unpin(workdir, step)
  else:
    raise errors.InputError(
      f"{workdir}: step {step} is not pinned. Pinned: {_pins(workdir)}."
    )
  print(f"{workdir}: pinned: {_pins(workdir)}")


def _mismatch(
  header: reader.Header, codec, arguments: argparse.Namespace
) -> str:
  """Says which checkpoint of the workdir made a file, if one did."""
  from soundstream_jax.checkpoint import manager
  from soundstream_jax.codec import exported, fingerprint

  workdir = arguments.model
  other = (
    f"belongs to another model: its fingerprint {header.fingerprint.hex()[:12]}"
    f" (step {header.step}, {header.weights})"
  )
  if exported.is_exported(workdir):
    return f"{other} is not the {codec.fingerprint.hex()[:12]} of {workdir}."
  present = manager.steps(workdir)
  # The file's own hint first, then the newest: one load is the usual case.
  steps = sorted(present, key=lambda step: (step != header.step, -step))
  kinds = sorted(header_lib.WEIGHTS, key=lambda kind: kind != header.weights)
  for step in steps:
    for kind in kinds:
      if (step, kind) == (codec.step, codec.weights):
        continue
      restored = manager.restore_params_only(workdir, step=step, weights=kind)
      digest = fingerprint.compute(
        restored.config, restored.params, restored.codebooks.vectors
      )
      if digest == header.fingerprint:
        return (
          f"made by step {step} ({kind} weights) of {workdir}, not by step "
          f"{codec.step} ({codec.weights}). Use --step={step} "
          f"--weights={kind}."
        )
  return (
    f"{other} is that of no checkpoint of {workdir} (steps "
    f"{', '.join(map(str, present))})."
  )


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
  """Keeps the checkpoint library's remarks off the command's stderr."""
  from absl import logging

  verbosity = logging.get_verbosity()
  logging.set_verbosity(logging.ERROR)
  try:
    yield
  finally:
    logging.set_verbosity(verbosity)


def _pins(workdir: str) -> str:
  from soundstream_jax.checkpoint import manager

  return ", ".join(map(str, sorted(manager.pinned(workdir)))) or "none"
