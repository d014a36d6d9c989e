"""GPUs that a program can be compiled for without having one.

XLA's compiler for GPUs needs no GPU, only a description of it, a
GpuTargetConfigProto as text. The numbers of `Gpu` that go into it are those
that OpenXLA publishes for its own tests (openxla/xla,
xla/backends/gpu/target_config/specs: a100_sxm_80, b200, h100_sxm and h200).
Where they say the same, NVIDIA's data sheets agree: multiprocessors, memory and
its bandwidth (A100: 108, 80 GB, 2.04 TB/s; H100: 132, 80 GB, 3.35; H200: 132,
141 GB, 4.8; B200: 148, 180 GB, 7.7 to 8).

The other rates are the sheets', and the compiler does not see them:

* `peak_flops`: dense bfloat16 on tensor cores, without sparsity.
* `nvlink_bytes`: per GPU and direction; the sheets give the sum of both.
* `network_bytes`: per GPU and direction, of NVIDIA's own machines with eight:
  DGX A100 (200 Gb/s a GPU), DGX H100, H200 and B200 (400 Gb/s a GPU). Others'
  machines have as little as a tenth of that.

Not known: `reachable_share` of the peak. A large product reaches some 800 of
989 TFLOP/s on an H100; the same share is taken for the others. The version of
cuDNN is that of the machine with the GPU, and so are its choices; `CUDNN` is
only what the compiler may take for granted.
"""

import dataclasses

MEGABYTE = 2**20

# cuDNN 9.8 and CUDA 12.8: without them XLA rewrites fewer operations
# (openxla/xla 25910).
CUDNN, CUDA = (9, 8), (12, 8)


@dataclasses.dataclass(frozen=True)
class Gpu:
  """A model of GPU, in its SXM form; rates are per second."""

  description: str
  capability: tuple[int, int]
  cores: int  # multiprocessors (SM)
  fpus_per_core: int
  clock_ghz: float
  memory_bytes: int
  memory_bandwidth: int  # bytes
  l2_bytes: int
  shared_memory_per_core: int
  shared_memory_per_block: int  # what a kernel may ask for
  peak_flops: float
  nvlink_bytes: float
  network_bytes: float
  reachable_share: float = 0.81


_HOPPER = {
  "capability": (9, 0),
  "cores": 132,
  "fpus_per_core": 128,
  "clock_ghz": 1.98,
  "l2_bytes": 50 * MEGABYTE,
  "shared_memory_per_core": 233472,
  "shared_memory_per_block": 232448,
  "peak_flops": 989e12,
  "nvlink_bytes": 450e9,
  "network_bytes": 50e9,
}

GPUS = {
  "a100": Gpu(
    description="NVIDIA A100-SXM4-80GB",
    capability=(8, 0),
    cores=108,
    fpus_per_core=64,
    clock_ghz=1.41,
    memory_bytes=85_100_068_864,
    memory_bandwidth=2_039_040_000_000,
    l2_bytes=40 * MEGABYTE,
    shared_memory_per_core=167936,
    shared_memory_per_block=166912,
    peak_flops=312e12,
    nvlink_bytes=300e9,
    network_bytes=25e9,
  ),
  "h100": Gpu(
    description="NVIDIA H100 80GB HBM3",
    memory_bytes=84_942_979_072,
    memory_bandwidth=3_352_320_000_000,
    **_HOPPER,
  ),
  "h200": Gpu(
    description="NVIDIA H200 141GB HBM3e",
    memory_bytes=151_397_597_184,
    memory_bandwidth=4_800_000_000_000,
    **_HOPPER,
  ),
  "b200": Gpu(
    description="NVIDIA B200",
    capability=(10, 0),
    cores=148,
    fpus_per_core=128,
    clock_ghz=1.965,
    memory_bytes=191_514_411_008,
    memory_bandwidth=7_672_320_000_000,
    l2_bytes=132_644_864,
    shared_memory_per_core=233472,
    shared_memory_per_block=232448,
    peak_flops=2250e12,
    nvlink_bytes=900e9,
    network_bytes=50e9,
  ),
}


def target_config(gpu: Gpu) -> str:
  """Returns the GpuTargetConfigProto of a GPU, as text."""
  major, minor = gpu.capability
  return f"""\
gpu_device_info {{
  threads_per_block_limit: 1024
  threads_per_warp: 32
  threads_per_core_limit: 2048
  block_dim_limit_x: 2147483647
  block_dim_limit_y: 65535
  block_dim_limit_z: 65535
  registers_per_core_limit: 65536
  registers_per_block_limit: 65536
  shared_memory_per_block: 49152
  shared_memory_per_block_optin: {gpu.shared_memory_per_block}
  shared_memory_per_core: {gpu.shared_memory_per_core}
  core_count: {gpu.cores}
  fpus_per_core: {gpu.fpus_per_core}
  clock_rate_ghz: {gpu.clock_ghz}
  memory_bandwidth: {gpu.memory_bandwidth}
  device_memory_size: {gpu.memory_bytes}
  l2_cache_size: {gpu.l2_bytes}
  cuda_compute_capability {{ major: {major} minor: {minor} }}
}}
platform_name: "CUDA"
dnn_version_info {{ major: {CUDNN[0]} minor: {CUDNN[1]} }}
runtime_version {{ major: {CUDA[0]} minor: {CUDA[1]} patch: 0 }}
device_description_str: "{gpu.description}"
"""
