"""Devices as a mesh, and who may write text."""

import jax
from jax.sharding import AxisType, Mesh

from soundstream_jax import config as config_lib
from soundstream_jax import errors

# The batch is split over both axes, parameters over the second.
AXES = ("data", "fsdp")


def make_mesh(mesh: config_lib.Mesh, devices=None) -> Mesh:
  """Returns a mesh with axes ("data", "fsdp").

  One process may use fewer devices than it has; several use all of them.

  Raises:
    InputError: the sizes do not fit the number of devices.
  """
  devices = jax.devices() if devices is None else devices
  data, fsdp = mesh.data, mesh.fsdp
  if data == -1:
    data = max(1, len(devices) // fsdp)
    fits = data * fsdp == len(devices)
  else:
    few = jax.process_count() == 1 and 1 <= data * fsdp < len(devices)
    fits = few or data * fsdp == len(devices)
  if not fits:
    raise errors.InputError(
      f"mesh.data={mesh.data}, mesh.fsdp={mesh.fsdp} do not cover the "
      f"{len(devices)} devices. Use --config.mesh.data=-1 and an fsdp that "
      f"divides {len(devices)}."
    )
  # Auto axes: Explicit ones, the default, refuse ordinary gathers and STFTs.
  return jax.make_mesh(
    (data, fsdp),
    AXES,
    axis_types=(AxisType.Auto,) * 2,
    devices=devices[: data * fsdp],
  )


def is_primary() -> bool:
  """True in the one process that writes logs. Never guard a collective."""
  return jax.process_index() == 0
