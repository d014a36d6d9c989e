"""Loads the model of a command, and refuses files that another model made."""

import argparse
import contextlib
import pathlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

from soundstream_jax import errors
from soundstream_jax.codec.sstr import header as header_lib
from soundstream_jax.codec.sstr import reader, version1

# jax and the model are imported where they are needed: --help and a mistyped
# path answer at once.
if TYPE_CHECKING:
  from soundstream_jax.codec import trained_model


def load(arguments: argparse.Namespace) -> "trained_model.TrainedModel":
  """Returns the model of --model, --step and --weights.

  Raises:
    InputError: no such checkpoint.
  """
  from soundstream_jax.codec import trained_model

  with _quiet():
    return trained_model.load(
      arguments.model, step=arguments.step, weights=arguments.weights
    )


def check(
  source: str | pathlib.Path,
  header: reader.Header,
  model: "trained_model.TrainedModel",
  arguments: argparse.Namespace,
) -> None:
  """Refuses a file that another model made.

  Raises:
    InputError: with the checkpoint that made it, if the workdir has it; or a
      header whose fingerprint is not its own.
  """
  if model.fingerprint != header.fingerprint:
    with _quiet():
      reason = _mismatch(header, model, arguments)
    raise errors.InputError(f"{source}: {reason}")
  rates = model.rates
  fields = [
    ("model_rate_hz", header.model_rate_hz, rates.sample_rate_hz),
    ("hop_samples", header.hop_samples, rates.hop_samples),
    ("codebook_size", header.codebook_size, rates.codebook_size),
  ]
  if header.version != version1.VERSION:
    fields += [
      ("strides", header.strides, rates.strides),
      ("model_quantizers", header.model_quantizers, rates.num_quantizers),
    ]
  for name, value, expected in fields:
    if value != expected:
      raise errors.InputError(
        f"{source}: {name}={value} contradicts the fingerprint, whose model "
        f"has {expected}."
      )


def _mismatch(
  header: reader.Header,
  model: "trained_model.TrainedModel",
  arguments: argparse.Namespace,
) -> str:
  """Returns the reason, with the checkpoint of the workdir that made a file."""
  from soundstream_jax.checkpoint import exported, fingerprint, folder
  from soundstream_jax.checkpoint import weights as weights_lib

  workdir = arguments.model
  other = (
    f"belongs to another model: its fingerprint {header.fingerprint.hex()[:12]}"
    f" (step {header.step}, {header.weights})"
  )
  if exported.is_exported(workdir):
    return f"{other} is not the {model.fingerprint.hex()[:12]} of {workdir}."
  present = folder.steps(workdir)
  # The file's own hint first, then the newest: one load is the usual case.
  steps = sorted(present, key=lambda step: (step != header.step, -step))
  kinds = sorted(header_lib.WEIGHTS, key=lambda kind: kind != header.weights)
  for step in steps:
    for kind in kinds:
      if (step, kind) == (model.step, model.weights):
        continue
      restored = weights_lib.restore(workdir, step=step, weights=kind)
      digest = fingerprint.compute(
        restored.config, restored.params, restored.codebooks.vectors
      )
      if digest == header.fingerprint:
        return (
          f"made by step {step} ({kind} weights) of {workdir}, not by step "
          f"{model.step} ({model.weights}). Use --step={step} "
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
