"""Mesh of a run in numbers: its axes, and the shares of a batch.

The same rules for devices that are here and, in a launcher, for those that a
job is going to have.
"""

from typing import Any

from soundstream_jax import errors


def axes(mesh: Any, devices: int, *, few: bool = False) -> tuple[int, int]:
  """Returns the devices on the axes ("data", "fsdp").

  Args:
    mesh: a `config.Mesh`.
    devices: of the whole job.
    few: whether some of them may be left unused, as in one process.

  Raises:
    InputError: the sizes do not fit the number of devices.
  """
  data, fsdp = mesh.data, mesh.fsdp
  if data == -1:
    data = max(1, devices // fsdp)
    fits = data * fsdp == devices
  else:
    fits = data * fsdp == devices or (few and 1 <= data * fsdp < devices)
  if not fits:
    raise errors.InputError(
      f"mesh.data={mesh.data}, mesh.fsdp={mesh.fsdp} do not cover the "
      f"{devices} devices. Use --config.mesh.data=-1 and an fsdp that divides "
      f"{devices}."
    )
  return data, fsdp


def check_batch(
  batch_size: int, devices: int, *, microbatches: int = 1
) -> None:
  """Refuses a batch that the devices cannot share evenly.

  Raises:
    InputError: with the sizes that work.
  """
  shares = devices * microbatches
  if batch_size % shares:
    by = f"the {devices} devices"
    if microbatches > 1:
      by += f" times microbatches={microbatches}"
    raise errors.InputError(
      f"batch_size={batch_size} is not a multiple of {by}. "
      f"Use {max(1, batch_size // shares) * shares}."
    )
