"""Laws of placement: every array has one place, and it fits."""

import math

import jax
import numpy as np
import pytest
from jax.sharding import AxisType
from jax.sharding import PartitionSpec as P

from soundstream_jax import config, errors
from soundstream_jax.devices import distributed, sharding

MANY = sharding.SMALLEST_SHARDED


def mesh_of(data, fsdp):
  return distributed.make_mesh(config.Mesh(data=data, fsdp=fsdp))


def spec_of(shape, mesh):
  leaf = jax.ShapeDtypeStruct(shape, np.float32)
  return sharding.of_tree(leaf, mesh).spec


@pytest.mark.parametrize(
  ("data", "fsdp", "shape"),
  [(-1, 1, (8, 1)), (-1, 2, (4, 2)), (2, 4, (2, 4)), (-1, 8, (1, 8))],
)
def test_a_mesh_covers_all_devices_with_auto_axes(data, fsdp, shape):
  mesh = mesh_of(data, fsdp)
  assert tuple(mesh.shape.values()) == shape
  assert mesh.axis_names == distributed.AXES
  assert set(mesh.devices.flat) == set(jax.devices())
  assert set(mesh.axis_types) == {AxisType.Auto}


@pytest.mark.parametrize(
  ("data", "fsdp"), [(-1, 3), (-1, 16), (3, 3), (8, 2), (0, 8)]
)
def test_a_mesh_that_does_not_cover_the_devices_is_refused(data, fsdp):
  with pytest.raises(errors.InputError, match=rf"fsdp={fsdp} do.*8 devices"):
    mesh_of(data, fsdp)


def test_one_process_may_use_the_first_of_its_devices():
  assert list(mesh_of(2, 1).devices.flat) == jax.devices()[:2]


def test_a_mesh_takes_the_devices_it_is_given():
  devices = jax.devices()[:2]
  mesh = distributed.make_mesh(config.Mesh(), devices)
  assert list(mesh.devices.flat) == devices


def test_one_process_is_primary():
  assert distributed.is_primary()


@pytest.mark.parametrize(
  ("shape", "spec"),
  [
    ((MANY,), P("fsdp")),
    ((256, 512), P(None, "fsdp")),
    ((512, 256), P("fsdp", None)),
    ((512, 512), P(None, "fsdp")),  # of equal axes the last
    ((7, 99_999, 4), P(None, None, "fsdp")),  # the largest does not divide
    ((24, 1024, 256), P(None, "fsdp", None)),
    ((1001, 1001), P()),  # no axis divides
    ((MANY - 4,), P()),  # too small to be worth a gather
    ((), P()),
  ],
)
def test_the_largest_axis_that_divides_is_split(shape, spec):
  assert spec_of(shape, mesh_of(-1, 4)) == spec


def test_without_an_fsdp_axis_everything_is_replicated():
  assert spec_of((1024, 1024), mesh_of(-1, 1)) == P()


def test_every_leaf_can_be_placed_where_its_sharding_says():
  mesh = mesh_of(-1, 8)
  tree = {
    "kernel": np.arange(2 * MANY, dtype=np.float32).reshape(16, -1),
    "moments": [np.ones((24, 1024, 8), np.float32), np.zeros((), np.int32)],
  }
  placed = jax.tree.map(jax.device_put, tree, sharding.of_tree(tree, mesh))
  for before, after in zip(
    jax.tree.leaves(tree), jax.tree.leaves(placed), strict=True
  ):
    np.testing.assert_array_equal(before, after)
    share = math.prod(after.sharding.shard_shape(after.shape))
    assert share == (after.size // 8 if after.size >= MANY else after.size)


def test_equal_shapes_share_one_sharding_whatever_they_are_called():
  mesh = mesh_of(-1, 4)
  leaf = jax.ShapeDtypeStruct((512, 384), np.float32)
  places = sharding.of_tree({"params": leaf, "opt": {"mu": leaf}}, mesh)
  assert places["params"] == places["opt"]["mu"]


@pytest.mark.parametrize("fsdp", [1, 2, 8])
def test_a_batch_is_split_over_all_devices_on_its_first_axis(fsdp):
  mesh = mesh_of(-1, fsdp)
  audio = jax.device_put(np.zeros((16, 10, 1)), sharding.batch(mesh))
  assert audio.sharding.shard_shape(audio.shape) == (2, 10, 1)
  assert len(audio.sharding.device_set) == 8


@pytest.mark.parametrize("size", [8, 64])
def test_a_batch_of_whole_shares_is_accepted(size):
  sharding.check_batch(size, mesh_of(4, 2))


@pytest.mark.parametrize("size", [1, 7, 12, 65])
def test_a_batch_that_devices_cannot_share_is_refused_with_one_they_can(size):
  mesh = mesh_of(4, 2)
  with pytest.raises(errors.InputError, match=f"batch_size={size} ") as caught:
    sharding.check_batch(size, mesh)
  offered = str(caught.value).split("Use ")[1].rstrip(".")
  sharding.check_batch(int(offered), mesh)
