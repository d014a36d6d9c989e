"""Accelerators to compile for that are elsewhere: names and environment."""

import dataclasses
import importlib.util
import os
import re
import sys

from soundstream_jax import errors
from soundstream_jax.launch import slices
from soundstream_jax.launch.preflight import gpu_targets

# Of one host; NVIDIA's switches join eight.
MOST_GPUS_PER_HOST = 8

# Options of XLA for a GPU that is not there. Nothing can be tuned on it: a
# Triton product would get a tile of 16x8, and some find none at all
# (INTERNAL: Couldn't find output tile sizes). So products become calls of
# cuBLAS, as they mostly do on the card.
GPU_OPTIONS = {
  "xla_gpu_enable_triton_gemm": False,
  "xla_gpu_autotune_level": 0,
}


@dataclasses.dataclass(frozen=True)
class Topology:
  name: str  # as typed: v5e:16x16, cpu:8
  size: int  # devices
  chip: slices.Chip | None  # a TPU's
  gpu: gpu_targets.Gpu | None = None  # neither of both is a CPU
  hosts: int = 1  # of GPUs

  @property
  def memory_bytes(self) -> int | None:
    """Of one device; None if no limit is known."""
    device = self.chip or self.gpu
    return device and device.memory_bytes

  @property
  def compiler_options(self) -> dict | None:
    """Of jax's compile(), beside the program's own."""
    return dict(GPU_OPTIONS) if self.gpu else None


def parse(name: str) -> Topology:
  """Reads --topology.

  Raises:
    InputError: no such kind, or a slice that does not exist.
  """
  kind, _, size = name.partition(":")
  if kind in gpu_targets.GPUS:
    return _gpus(name, kind, size)
  if kind != "cpu":
    others = [f"{gpu}:8" for gpu in gpu_targets.GPUS]
    found = slices.parse(name, others=(*others, "cpu:8"))
    return Topology(name, found.num_chips, found.chip)
  if not re.fullmatch(r"[1-9]\d{0,4}", size):
    raise errors.InputError(
      f"--topology={name}: {size!r} is no number of devices. Write it as in "
      "cpu:8."
    )
  return Topology(name, int(size), None)


def _gpus(name: str, kind: str, size: str) -> Topology:
  """Reads h100:8, the GPUs of one host, or h100:2x8, hosts and GPUs of each."""
  if not re.fullmatch(r"([1-9]\d{0,3}x)?[1-9]\d{0,4}", size):
    raise errors.InputError(
      f"--topology={name}: {size!r} is no number of GPUs. Write it as in "
      f"{kind}:8, or {kind}:2x8 for two hosts of eight."
    )
  hosts, each = map(int, size.split("x") if "x" in size else (1, size))
  if each > MOST_GPUS_PER_HOST:
    total = hosts * each
    whole = -(-total // MOST_GPUS_PER_HOST)
    raise errors.InputError(
      f"--topology={name}: a host has at most {MOST_GPUS_PER_HOST} GPUs. Write "
      f"hosts and GPUs of each, as in {kind}:{whole}x{MOST_GPUS_PER_HOST}."
    )
  gpu = gpu_targets.GPUS[kind]
  return Topology(name, hosts * each, None, gpu=gpu, hosts=hosts)


def prepare(topology: Topology) -> None:
  """Sets the environment that jax reads when it loads.

  Raises:
    InputError: the compiler of TPUs or GPUs is not installed.
  """
  # Also with the compiler of GPUs installed, which looks for one otherwise, and
  # prints how it found none.
  environment = {"JAX_PLATFORMS": "cpu"}
  if topology.gpu:
    if not has_gpu_compiler():
      raise errors.InputError(
        f"--topology={topology.name} needs jax-cuda12-plugin, the compiler for "
        "GPUs: pip install 'soundstream_jax[preflight-gpu]', in an environment "
        "of its own. --topology=cpu:8 works without it."
      )
  elif topology.chip is None:
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


def has_gpu_compiler() -> bool:
  """Whether jax's plugin for CUDA is installed, with or without a GPU."""
  return (
    importlib.util.find_spec("jax_plugins") is not None
    and importlib.util.find_spec("jax_plugins.xla_cuda12") is not None
  )


def devices(topology: Topology) -> list:
  """Returns the devices to make a mesh of; nothing can run on most of them.

  Raises:
    InputError: there is no such slice, or jax was loaded with fewer devices.
  """
  import jax
  from jax.experimental import topologies

  if topology.gpu:
    # Slices, hosts and GPUs of each; the name of the topology is not read.
    each = topology.size // topology.hosts
    return list(
      topologies.get_topology_desc(
        platform="cuda",
        topology_name=topology.name,
        target_config=gpu_targets.target_config(topology.gpu),
        topology=f"1x{topology.hosts}x{each}",
      ).devices
    )
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
