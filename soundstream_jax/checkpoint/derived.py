"""Models made of a model: its first layers alone, its numbers rounded."""

import dataclasses

import jax
import numpy as np

from soundstream_jax import errors
from soundstream_jax.checkpoint import exported


def first_layers(
  model: exported.Exported, num_quantizers: int
) -> exported.Exported:
  """Returns the model of the first quantizer layers alone.

  Raises:
    InputError: it does not have so many.
  """
  has = model.config.quantizer.num_quantizers
  if not 1 <= num_quantizers <= has:
    raise errors.InputError(
      f"--num_quantizers={num_quantizers} must be from 1 to the {has} layers of "
      "the model."
    )
  quantizer = dataclasses.replace(
    model.config.quantizer,
    num_quantizers=num_quantizers,
    dropout_depths=tuple(
      depth
      for depth in model.config.quantizer.dropout_depths
      if depth <= num_quantizers
    ),
  )
  params = dict(model.params)
  if "quantizer" in params:
    params["quantizer"] = {
      name: array[:num_quantizers]
      for name, array in params["quantizer"].items()
    }
  return dataclasses.replace(
    model,
    config=dataclasses.replace(model.config, quantizer=quantizer),
    params=params,
    vectors=model.vectors[:num_quantizers],
  )


def rounded(model: exported.Exported, dtype: str) -> exported.Exported:
  """Returns the model whose numbers are those of a dtype, kept as float32.

  Raises:
    InputError: an array has a number that the dtype does not reach.
  """
  largest = np.finfo(dtype).max
  for name, array in exported.flat(model).items():
    reached = np.abs(array).max(initial=0)
    if reached > largest:
      raise errors.InputError(
        f"{name} reaches {reached:g}, beyond {dtype}'s {largest:g}. Export "
        "float32."
      )

  def round_(array):
    return np.asarray(array).astype(dtype).astype(np.float32)

  return dataclasses.replace(
    model,
    params=jax.tree.map(round_, model.params),
    vectors=round_(model.vectors),
  )
