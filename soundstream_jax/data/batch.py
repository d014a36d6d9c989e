"""Batch: the arrays that a training step takes, of one example or of many."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from soundstream_jax import config as config_lib


class Batch(NamedTuple):
  """B examples, or one without the first axis.

  A pytree whose absent fields are None: numpy from the loader, jax in a step.

  Attributes:
    audio: float32 [B, T, 1], what the encoder hears.
    target: float32 [B, T, 1], what the output is compared with; None: `audio`.
    denoise: bool [B], the condition of FiLM; None where the model has none.
  """

  audio: Any
  target: Any = None
  denoise: Any = None


def of(
  config: config_lib.Config, *, audio: Any, target: Any, denoise: Any
) -> Batch:
  """Returns a batch with the fields that a configuration trains on.

  The target is a field of its own where noise is to be taken away: where the
  model can be told to (model.film), and the mixture has noisy speech.
  """
  if config.model.film == "none":
    return Batch(audio)
  mixture = config.data.mixture
  noisy = mixture.noisy_speech or mixture.noisy_reverberant_speech
  return Batch(audio, target if noisy else None, denoise)


def stack(examples: Sequence[Batch], *, out: Batch | None = None) -> Batch:
  """Examples -> a batch of them, in the arrays of `out` if there is one."""
  fields = zip(*examples, strict=True)
  return Batch(
    *(
      None if field[0] is None else np.stack(field, out=array)
      for field, array in zip(fields, out or Batch(None), strict=True)
    )
  )
