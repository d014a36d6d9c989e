"""Bounds a program's time on a GPU from below, under assumptions with names.

No GPU is asked. What is assumed (`assumptions`):

* a product computes at the reachable share of the card's peak, on as many
  multiprocessors as its result has tiles of 128 x 128, each of which takes one:
  a result of two tiles keeps two busy, however much it sums. Only cuDNN's
  BackwardFilter and cuBLAS split sums, here into pieces of 2048 terms;
* products of float32 run outside the tensor cores, at two operations a clock;
* a kernel reads and writes the main memory at its full bandwidth, all that it
  names: what the cache keeps from one kernel to the next is not known;
* no kernel takes less than a launch;
* a kernel takes the longest of the three, one after another;
* a collective moves its bytes in a ring over all devices, at NVLink's rate and
  across hosts at the network's, beside no kernel.
"""

import dataclasses

from soundstream_jax.launch.preflight import (
  gpu_calls,
  gpu_targets,
  kernels,
  program_cost,
)

TILE = 128
# Of a sum that is split; what cuDNN does is not known.
TERMS = 2048
# A guess: a small kernel and the gap to the next one.
LAUNCH_SECONDS = 3e-6


@dataclasses.dataclass(frozen=True)
class Bound:
  """Seconds per run of a program, on one of its devices."""

  arithmetic: float  # of all products, with every multiprocessor busy
  tiles: float  # of all products, by the tiles of their results
  bytes: float  # of all that is read and written
  launches: float
  kernels: float  # the sum of each one's longest
  collectives: float

  @property
  def total(self) -> float:
    return self.kernels + self.collectives


def of(
  found: list[kernels.Kernel],
  collectives: list[program_cost.Collective],
  gpu: gpu_targets.Gpu,
  *,
  devices: int,
  hosts: int,
) -> Bound:
  products = [(c, k.rounds) for k in found for c in k.products]
  return Bound(
    arithmetic=sum(c.flops * n / rate(c, gpu) for c, n in products),
    tiles=sum(n * product_seconds(c, gpu) for c, n in products),
    bytes=sum(k.bytes * k.rounds for k in found) / gpu.memory_bandwidth,
    launches=LAUNCH_SECONDS * sum(k.rounds for k in found),
    kernels=sum(k.rounds * kernel_seconds(k, gpu) for k in found),
    collectives=sum(
      c.rounds * collective_seconds(c, gpu, devices=devices, hosts=hosts)
      for c in collectives
    ),
  )


def rate(call: gpu_calls.Call, gpu: gpu_targets.Gpu) -> float:
  """FLOPs per second that all multiprocessors reach."""
  if call.dtype in ("f32", "f64"):
    return 2.0 * gpu.cores * gpu.fpus_per_core * gpu.clock_ghz * 1e9
  return gpu.peak_flops * gpu.reachable_share


def share(call: gpu_calls.Call, gpu: gpu_targets.Gpu) -> float:
  """Share of the multiprocessors that are busy, over all waves of tiles."""
  tiles = call.tiles(TILE)
  if call.splits_sums:
    tiles *= -(-call.terms // TERMS)
  waves = -(-tiles // gpu.cores)
  return tiles / (waves * gpu.cores) if tiles else 1.0


def product_seconds(call: gpu_calls.Call, gpu: gpu_targets.Gpu) -> float:
  return call.flops / (rate(call, gpu) * share(call, gpu))


def kernel_seconds(kernel: kernels.Kernel, gpu: gpu_targets.Gpu) -> float:
  if kernel.kind == "collective":
    return LAUNCH_SECONDS
  computing = sum(product_seconds(call, gpu) for call in kernel.products)
  return max(computing, kernel.bytes / gpu.memory_bandwidth, LAUNCH_SECONDS)


def collective_seconds(
  one: program_cost.Collective,
  gpu: gpu_targets.Gpu,
  *,
  devices: int,
  hosts: int,
) -> float:
  """Seconds of one run, by the slower of the two kinds of wires."""
  return max(
    nvlink_seconds(one, gpu, devices=devices),
    network_seconds(one, gpu, devices=devices, hosts=hosts),
  )


def nvlink_seconds(
  one: program_cost.Collective, gpu: gpu_targets.Gpu, *, devices: int
) -> float:
  return _ring(one, devices, gpu.nvlink_bytes)


def network_seconds(
  one: program_cost.Collective,
  gpu: gpu_targets.Gpu,
  *,
  devices: int,
  hosts: int,
) -> float:
  """All GPUs of a host send to the next host at once."""
  return _ring(one, hosts, gpu.network_bytes * devices / hosts)


def _ring(one, members: int, bandwidth: float) -> float:
  ways = 2 if one.kind == "all-reduce" else 1
  return ways * (members - 1) / members * one.bytes / bandwidth


def assumptions(gpu: gpu_targets.Gpu) -> list[str]:
  peak = gpu.peak_flops / 1e12
  return [
    f"products at {gpu.reachable_share:.0%} of {peak:.0f} TFLOP/s, a "
    f"multiprocessor of {gpu.cores} for each tile of {TILE}x{TILE} of a result, "
    f"sums split by BackwardFilter and cuBLAS alone, every {TERMS} terms (a "
    "guess); float32 outside the tensor cores",
    f"memory at {gpu.memory_bandwidth / 1e12:.2f} TB/s, nothing from the cache",
    f"{LAUNCH_SECONDS * 1e6:.0f} us for a kernel at least (a guess; CUDA graphs "
    "make it less)",
    f"collectives at {gpu.nvlink_bytes / 1e9:.0f} GB/s a GPU, across hosts "
    f"{gpu.network_bytes / 1e9:.0f}, beside no kernel",
  ]
