"""Accelerators to compile for that are elsewhere: names, environment, limits.

Figures per chip: Google Cloud's TPU documentation, "System architecture", the
pages on v4, v5e, v5p and v6e (memory, peak in bfloat16). No page gives a
clock. It is taken from the peak, which is clock * matrix units * 2 * 128 * 128
with the pages' count of units: 1.05 GHz for v4 agrees with Jouppi et al. 2023,
arXiv:2304.01433. For v6e the count is not clear, and none is given.
"""

import dataclasses
import importlib.util
import math
import os
import re
import sys

from soundstream_jax import errors

GIB = 2**30


@dataclasses.dataclass(frozen=True)
class Chip:
  accelerator: str  # as in TPU_ACCELERATOR_TYPE
  cores: int  # that count in the accelerator's name
  memory_bytes: int
  peak_flops: float  # bfloat16, per second
  clock_hz: float | None


CHIPS = {
  "v4": Chip("v4", 2, 32 * GIB, 275e12, 1.05e9),
  "v5e": Chip("v5litepod", 1, 16 * GIB, 197e12, 1.5e9),
  "v5p": Chip("v5p", 2, 95 * GIB, 459e12, 1.75e9),
  "v6e": Chip("v6e", 1, 32 * GIB, 918e12, None),
}


@dataclasses.dataclass(frozen=True)
class Topology:
  name: str  # as typed: v5e:16x16, cpu:8
  kind: str  # 'cpu' or a key of CHIPS
  size: int

  @property
  def chip(self) -> Chip | None:
    return CHIPS.get(self.kind)


def parse(name: str) -> Topology:
  """Reads --topology.

  Raises:
    InputError: no such kind, or a size that is not understood.
  """
  kind, _, sizes = name.partition(":")
  if kind != "cpu" and kind not in CHIPS:
    raise errors.InputError(
      f"--topology={name}: {kind!r} is none of cpu, {', '.join(CHIPS)}."
      f"{errors.nearest(kind, ('cpu', *CHIPS))} Write v5e:2x2 or cpu:8."
    )
  pattern = r"[1-9]\d*" if kind == "cpu" else r"[1-9]\d*(x[1-9]\d*){1,2}"
  if not re.fullmatch(pattern, sizes):
    example = "cpu:8" if kind == "cpu" else f"{kind}:2x2"
    raise errors.InputError(
      f"--topology={name}: {sizes!r} is no size. Write it as in {example}."
    )
  return Topology(name, kind, math.prod(map(int, sizes.split("x"))))


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
