"""Laws of the tensor table and of names in PyTorch's state dict."""

import dataclasses
import re

import jax
import numpy as np
import pytest

from soundstream_jax import errors
from soundstream_jax.checkpoint import exported
from soundstream_jax.export import tensors
from soundstream_jax.export.torch import names
from tests.codec import random_codec

# Every option that changes which tensors there are.
MODELS = {
  "paper": {},
  "film in the encoder": {"model.film": "encoder"},
  "film in the decoder": {"model.film": "decoder"},
  "snake": {"model.activation": "snake", "model.strides": (5, 2)},
  "mel": {"model.encoder": "mel"},
  "low_dim": {"quantizer.kind": "low_dim", "quantizer.code_dim": 2},
  "fsq": {"quantizer.kind": "fsq"},
  "wide units": {
    "model.residual_hidden_ratio": 1.0,
    "model.residual_kernel": 3,
    "model.strides": (2, 4, 5),
    "model.decoder_channels": 2,
  },
}


@pytest.fixture(params=MODELS)
def config(request, small_config):
  return small_config(**MODELS[request.param])


def made(config):
  _, params, vectors = random_codec.random_codec(config)
  return exported.Exported(config, params, vectors, step=5, weights="ema")


def test_the_table_has_every_tensor_of_the_model_once(config):
  rows = tensors.table(config)
  shapes = names.shapes(config)
  assert len(rows) == len(shapes)
  assert {row.path: row.shape for row in rows} == shapes


def test_a_layout_names_as_many_axes_as_the_shape_has(config):
  for row in tensors.table(config):
    assert len(row.layout.split(",")) == len(row.shape), row


def test_every_tensor_says_what_it_does_and_no_two_the_same_place(config):
  rows = tensors.table(config)
  assert all(row.role for row in rows)
  in_torch = [name for row in rows for name in row.torch]
  assert len(set(in_torch)) == len(in_torch)


def test_kernel_and_stride_of_the_paper_are_those_of_the_shape(config):
  for row in tensors.table(config):
    found = re.search(r"Conv1D\S* k=(\d+)", row.paper)
    if row.path.endswith("kernel") and row.path.count("/") > 2:
      assert found, row
      assert row.shape[0] == int(found[1])


def test_what_the_paper_does_not_have_has_no_place_in_it(config):
  for row in tensors.table(config):
    ours = "snake" in row.path or (
      config.quantizer.kind != "ema" and "decoder" not in row.path
    )
    if (
      "quantizer" in row.path or "codebooks" in row.path or "snake" in row.path
    ):
      assert (row.paper == "") == ours, row


def test_the_state_dict_is_that_of_the_table(config):
  state = names.to_torch(made(config))
  rows = tensors.table(config)
  assert state.keys() == {name for row in rows for name in row.torch}


def test_the_way_to_pytorch_and_back_is_exact(config):
  model = made(config)
  params, vectors = names.from_torch(names.to_torch(model), config)
  assert jax.tree.structure(params) == jax.tree.structure(model.params)
  for one, other in zip(
    jax.tree.leaves(params), jax.tree.leaves(model.params), strict=True
  ):
    assert one.dtype == np.float32
    np.testing.assert_array_equal(one, other)
  np.testing.assert_array_equal(vectors, model.vectors)


def test_layouts_are_those_of_pytorch(small_config):
  config = small_config(**{"model.strides": (5, 2)})
  shapes = {
    name: array.shape for name, array in names.to_torch(made(config)).items()
  }
  assert shapes["encoder.input.weight"] == (4, 1, 7)
  assert shapes["encoder.stages.0.units.1.dilated.weight"] == (2, 4, 7)
  assert shapes["encoder.stages.0.units.1.pointwise.weight"] == (4, 2, 1)
  assert shapes["encoder.stages.0.down.weight"] == (8, 4, 10)
  assert shapes["decoder.stages.0.up.weight"] == (16, 8, 4)
  assert shapes["decoder.stages.1.up.weight"] == (8, 4, 10)
  assert shapes["decoder.output.weight"] == (1, 4, 7)
  assert shapes["quantizer.vectors"] == (3, 16, 8)


@pytest.mark.parametrize(
  ("change", "says"),
  [
    (lambda s: s.pop("decoder.input.bias"), "decoder.input.bias is missing"),
    (
      lambda s: s.update(extra=np.zeros(1, np.float32)),
      "extra belongs to no part",
    ),
    (
      lambda s: s.update({"film.scale": np.zeros((2, 3), np.float32)}),
      r"film.scale has shape (2, 3), not (2, 8)",
    ),
    (
      lambda s: s.update({"film.scale": np.zeros((2, 8), np.int64)}),
      "film.scale is int64",
    ),
    (
      lambda s: s.update({"film.scale": np.full((2, 8), np.nan, np.float32)}),
      "film.scale is float32 and must be of finite floats",
    ),
  ],
)
def test_a_tensor_that_does_not_fit_is_named_in_one_line(
  change, says, small_config
):
  config = small_config(**{"model.film": "encoder"})
  state = names.to_torch(made(config))
  change(state)
  with pytest.raises(errors.InputError) as caught:
    names.from_torch(state, config)
  assert says in str(caught.value) and "\n" not in str(caught.value)


def test_a_row_is_frozen(small_config):
  row = tensors.table(small_config())[0]
  with pytest.raises(dataclasses.FrozenInstanceError):
    row.path = "other"
