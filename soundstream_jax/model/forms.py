"""Forms of one function: which one computes the generator, and what it needs."""

from collections.abc import Sequence

import flax.linen as nn
import jax

from soundstream_jax.model import folding, streams

Array = jax.Array


def elu(x: Array, form: str) -> Array:
  """The activation between layers; `form` is one of those of `form_for`."""
  return streams.elu(x) if form == "stream" else nn.elu(x)


def form_for(form: str, platform: str | None = None) -> str:
  """Returns the form of config.form for a platform, by default the one here.

  Of 'plain', 'blocks' and 'lanes'. Beside them there is 'stream', in which
  convolutions have a memory (see `streams`).
  """
  if form != "auto":
    return form
  return "lanes" if (platform or jax.default_backend()) == "tpu" else "blocks"


def folds(form: str, channels: int, strides: Sequence[int]) -> list[int]:
  """Returns the samples to a block at each level, from full rate down.

  The last level is that of the frames, whose samples are never folded.
  """
  widths = [channels * 2**level for level in range(len(strides))]
  if form != "lanes":
    return [1] * (len(strides) + 1)
  return [*folding.factors(widths, strides), 1]
