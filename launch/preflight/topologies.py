"""Accelerators to compile for that are elsewhere: names and environment."""

import dataclasses
import importlib.util
import os
import re
import sys

from soundstream_jax import errors
from soundstream_jax.launch import slices


@dataclasses.dataclass(frozen=True)
class Topology:
  name: str  # as typed: v5e:16x16, cpu:8
  size: int  # devices
  chip: slices.Chip | None  # None is a CPU


def parse(name: str) -> Topology:
  """Reads --topology.

  Raises:
    InputError: no such kind, or a slice that does not exist.
  """
  kind, _, size = name.partition(":")
  if kind != "cpu":
    found = slices.parse(name, others=("cpu:8",))
    return Topology(name, found.num_chips, found.chip)
  if not re.fullmatch(r"[1-9]\d{0,4}", size):
    raise errors.InputError(
      f"--topology={name}: {size!r} is no number of devices. Write it as in "
      "cpu:8."
    )
  return Topology(name, int(size), None)


def prepare(topology: Topology) -> None:
  """Sets the environment that jax reads when it loads.

  Raises:
    InputError: a TPU's compiler is not installed.
  """
  environment = {"JAX_PLATFORMS": "cpu"}
  if topology.chip is None:
    environment["XLA_FLAGS"] = " ".join(
      (
        os.environ.get("XLA_FLAGS", ""),
        f"--xla_force_host_platform_device_count={topology.size}",
      )
    )
  else:
    if importlib.util.find_spec("libtpu") is None:
      raise errors.InputError(
        f"--topology={topology.name} needs libtpu, the compiler for TPUs: pip "
        "install 'soundstream_jax[tpu]'. --topology=cpu:8 works without it."
      )
    cores = topology.size * topology.chip.cores
    environment |= {
      # Nobody to ask: this machine is not in Google's cloud.
      "TPU_SKIP_MDS_QUERY": "1",
      "TPU_ACCELERATOR_TYPE": f"{topology.chip.accelerator}-{cores}",
      "TPU_WORKER_HOSTNAMES": "localhost",
      # A second process is refused otherwise; no chip is there to share.
      "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
    }
  if "jax" not in sys.modules:
    os.environ.update(environment)


def devices(topology: Topology) -> list:
  """Returns the devices to make a mesh of; nothing can run on a TPU's.

  Raises:
    InputError: there is no such slice, or jax was loaded with fewer devices.
  """
  import jax
  from jax.experimental import topologies

  if topology.chip is None:
    found = jax.devices("cpu")
    if len(found) < topology.size:
      raise errors.InputError(
        f"--topology={topology.name}: jax has only {len(found)} CPU devices."
      )
    return found[: topology.size]
  try:
    return topologies.get_topology_desc(
      platform="tpu", topology_name=topology.name
    ).devices
  except jax.errors.JaxRuntimeError as error:
    reason = str(error).splitlines()[0]
    raise errors.InputError(
      f"--topology={topology.name}: {reason}. Is there such a slice?"
    ) from None
