"""Shardings of a run's arrays: replicated, or split over the devices."""

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from soundstream_jax.devices import distributed
from soundstream_jax.settings import mesh as mesh_lib

# Arrays below this many elements are replicated: gathering them costs more
# than keeping them.
SMALLEST_SHARDED = 2**16


def replicated(mesh: Mesh) -> NamedSharding:
  return NamedSharding(mesh, P())


def batch(mesh: Mesh) -> NamedSharding:
  """The first axis over all devices."""
  return NamedSharding(mesh, P(distributed.AXES))


def platform(mesh: Mesh) -> str:
  """Returns the devices' platform: 'cpu', 'gpu' or 'tpu'."""
  return mesh.devices.flat[0].platform


def process_rows(place: NamedSharding, batch_size: int) -> tuple[int, ...]:
  """Returns the rows of a global batch that this process's devices hold.

  Ascending, each once. A mesh may order devices as the network likes, so a
  process's rows need not follow each other.
  """
  rows = set()
  for index in place.addressable_devices_indices_map((batch_size,)).values():
    rows.update(range(batch_size)[index[0]])
  return tuple(sorted(rows))


def global_batch(place: NamedSharding, batch_size: int, local):
  """Assembles global arrays of the rows `process_rows` from every process.

  Args:
    place: of the batch.
    batch_size: rows of the global arrays.
    local: tree of [rows of this process, ...].

  Returns:
    The tree of global arrays.
  """
  rows = process_rows(place, batch_size)
  position = {row: k for k, row in enumerate(rows)}

  def assembled(leaf: np.ndarray) -> jax.Array:
    def piece(index):
      wanted = range(batch_size)[index[0]]
      first = position[wanted[0]]
      return leaf[first : first + len(wanted)]

    return jax.make_array_from_callback(
      (batch_size, *leaf.shape[1:]), place, piece
    )

  return jax.tree.map(assembled, local)


def of_tree(abstract, mesh: Mesh):
  """Returns the sharding of every leaf of a tree of shapes.

  The rule looks at shapes alone, so that a parameter, its moments and its
  average share one sharding: the largest axis that the fsdp axis divides is
  split, small arrays are replicated.
  """
  size = mesh.shape["fsdp"]

  def one(leaf):
    shape = leaf.shape
    if size == 1 or np.prod(shape, dtype=np.int64) < SMALLEST_SHARDED:
      return replicated(mesh)
    axes = [a for a, n in enumerate(shape) if n % size == 0]
    if not axes:
      return replicated(mesh)
    axis = max(axes, key=lambda a: (shape[a], a))
    spec = [None] * len(shape)
    spec[axis] = "fsdp"
    return NamedSharding(mesh, P(*spec))

  return jax.tree.map(one, abstract)


def check_batch(batch_size: int, mesh: Mesh, *, microbatches: int = 1) -> None:
  """Refuses a batch that the devices cannot share evenly.

  Raises:
    InputError: with the sizes that work.
  """
  mesh_lib.check_batch(batch_size, mesh.size, microbatches=microbatches)
