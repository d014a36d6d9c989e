"""Laws of the model fingerprint."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from soundstream_jax import config as config_lib
from soundstream_jax.checkpoint import fingerprint

CONFIG = config_lib.Config()
PARAMS = {
  "encoder": {"first": {"kernel": np.arange(6, dtype=np.float32)}},
  "decoder": {"bias": np.ones((2, 3), np.float32)},
}
VECTORS = np.full((2, 4, 3), 0.5, np.float32)


def changed(name: str, value) -> config_lib.Config:
  section, field = name.split(".")
  part = dataclasses.replace(getattr(CONFIG, section), **{field: value})
  return dataclasses.replace(CONFIG, **{section: part})


def other(value):
  if isinstance(value, tuple):
    return (*value, 2)
  if isinstance(value, str):
    return value + "x"
  if dataclasses.is_dataclass(value):
    fields = {field.name: 1.0 for field in dataclasses.fields(value)}
    return dataclasses.replace(value, **fields)
  return not value if isinstance(value, bool) else value * 2


def test_the_fingerprint_is_frozen():
  # A change here makes every existing file undecodable.
  digest = fingerprint.compute(CONFIG, PARAMS, VECTORS)
  assert digest.hex() == (
    "dc815c20102be4c427f55122bdd8912562610e01e1fa34c09969171e93a64445"
  )


def test_every_structure_field_changes_the_fingerprint():
  digests = {fingerprint.compute(CONFIG, PARAMS, VECTORS)}
  for name in fingerprint.STRUCTURE:
    value = other(config_lib.get(CONFIG, name))
    digests.add(fingerprint.compute(changed(name, value), PARAMS, VECTORS))
  assert len(digests) == 1 + len(fingerprint.STRUCTURE)


def test_no_training_field_changes_the_fingerprint():
  expected = fingerprint.compute(CONFIG, PARAMS, VECTORS)
  names = [
    f"{section.name}.{field.name}"
    for section in dataclasses.fields(CONFIG)
    if dataclasses.is_dataclass(section.default)
    for field in dataclasses.fields(section.default)
  ]
  for name in set(names) - set(fingerprint.STRUCTURE):
    config = changed(name, other(config_lib.get(CONFIG, name)))
    assert fingerprint.compute(config, PARAMS, VECTORS) == expected, name
  config = dataclasses.replace(
    CONFIG, seed=7, num_steps=1, batch_size=1, train_dtype="bfloat16"
  )
  assert fingerprint.compute(config, PARAMS, VECTORS) == expected


def test_every_field_of_the_model_is_either_structure_or_training_only():
  known = set(fingerprint.STRUCTURE) | set(fingerprint.TRAINING_ONLY)
  fields = {
    f"{section}.{field.name}"
    for section in ("audio", "model", "quantizer")
    for field in dataclasses.fields(getattr(CONFIG, section))
  }
  assert fields == known


def test_the_order_of_dicts_does_not_matter():
  backwards = {
    "decoder": PARAMS["decoder"],
    "encoder": PARAMS["encoder"],
  }
  expected = fingerprint.compute(CONFIG, PARAMS, VECTORS)
  assert fingerprint.compute(CONFIG, backwards, VECTORS) == expected


def test_device_arrays_and_numpy_arrays_are_the_same():
  expected = fingerprint.compute(CONFIG, PARAMS, VECTORS)
  params = jax.tree.map(jnp.asarray, PARAMS)
  vectors = jnp.asarray(VECTORS)
  assert fingerprint.compute(CONFIG, params, vectors) == expected


@pytest.mark.parametrize(
  "params",
  [
    {**PARAMS, "decoder": {"bias": np.zeros((2, 3), np.float32)}},
    {**PARAMS, "decoder": {"bias": np.ones((3, 2), np.float32)}},
    {**PARAMS, "decoder": {"scale": np.ones((2, 3), np.float32)}},
    {"decoder": PARAMS["decoder"]},
  ],
  ids=["value", "shape", "path", "missing"],
)
def test_every_property_of_a_parameter_changes_the_fingerprint(params):
  expected = fingerprint.compute(CONFIG, PARAMS, VECTORS)
  assert fingerprint.compute(CONFIG, params, VECTORS) != expected


def test_one_ulp_of_one_codebook_vector_changes_the_fingerprint():
  vectors = VECTORS.copy()
  vectors[1, 3, 2] = np.nextafter(vectors[1, 3, 2], np.float32(1))
  expected = fingerprint.compute(CONFIG, PARAMS, VECTORS)
  assert fingerprint.compute(CONFIG, PARAMS, vectors) != expected


def test_parameters_of_another_type_are_refused():
  params = {"bias": np.ones((2,), np.float64)}
  with pytest.raises(TypeError, match="params/bias is float64"):
    fingerprint.compute(CONFIG, params, VECTORS)
