"""Flags of XLA for jobs on GPUs: what is set, what is left alone, and why.

Flags are passed as compiler options: XLA_FLAGS with one that a platform does
not know ends the process, and a flag that the user's XLA_FLAGS set holds. The
defaults that are named here are those of jax 0.10.2 (as the compiler writes
them with --xla_dump_to).
"""

import dataclasses
from typing import Any

from soundstream_jax.devices import xla_flags


@dataclasses.dataclass(frozen=True)
class Flag:
  """A flag of XLA's, or a variable of the environment."""

  name: str
  value: Any  # that we set; None leaves the default
  why: str


AUTOTUNING = "xla_gpu_autotune_level"

# Of every training step on a GPU.
ALWAYS = (
  Flag(
    AUTOTUNING,
    2,
    "Tries the kernels of each distinct convolution and product, on data that "
    "is initialised. The default, 4, also compares what each of them computes, "
    "which NVIDIA found to take most of the time (tensorflow 35621). Not 0: "
    "the first kernel of the list may be many times slower. Not measured here.",
  ),
)

# Of a training step on several GPUs.
SEVERAL = (
  Flag(
    "xla_gpu_enable_latency_hiding_scheduler",
    True,
    "Reduces gradients while others are still computed. Compiled with 0.10.2 for "
    "eight A100, every reduction was waited for at once without it, and stood "
    "around 100 to 240 other instructions with it, for 10 % more memory (`tiny`). "
    "For H100 it changes not one instruction: there XLA's own estimate of "
    "latencies does that by default.",
  ),
)

# What guides name and we leave at its default.
LEFT = (
  Flag(
    "xla_gpu_enable_command_buffer",
    None,
    "CUDA graphs are on for fusions and products, not for convolutions, of "
    "which not all can be captured (openxla/xla 34572): each cuts the graph in "
    "two. To be tried on a card: XLA_FLAGS="
    "--xla_gpu_enable_command_buffer=+CONVOLUTION (0.10.2 takes it).",
  ),
  Flag(
    "xla_gpu_per_fusion_autotune_cache_dir",
    None,
    "jax sets it to a folder in that of config.compilation_cache (its option "
    "jax_persistent_cache_enable_xla_caches): what was tried for one shape is "
    "known to every program with that shape, and to the next run.",
  ),
  Flag(
    "xla_gpu_experimental_enable_fusion_autotuner",
    None,
    "On by default: fusions are tried in several ways too, 708 distinct ones in "
    "the paper's step (`plain`) beside 232 convolutions and products. Off, a "
    "first start may be much shorter; to be tried on a card. Its name says that "
    "a later XLA may refuse it, so it is left to XLA_FLAGS.",
  ),
  Flag(
    "xla_gpu_shard_autotuning",
    None,
    "On by default: the processes of a job share the trying.",
  ),
  Flag(
    "xla_gpu_all_reduce_combine_threshold_bytes",
    None,
    "30 MiB by default: 0.13 GB of gradients go in seven pieces, which is what "
    "overlaps. One piece could start only when all are computed.",
  ),
  Flag(
    "xla_gpu_enable_triton_gemm",
    None,
    "On by default, and tried against cuBLAS where there is a card. A compiler "
    "without one tries nothing, so preflight turns it off.",
  ),
  Flag(
    "XLA_CLIENT_MEM_FRACTION",
    None,
    "0.75 of a card's memory by default. The paper's step at 32 s a card needs "
    "4.7 GB of 80. Set 0.9 where preflight says that a batch needs more "
    "(docs.nvidia.com/jax-toolbox: 0.8 or 0.9; cuDNN and NCCL take the rest).",
  ),
  Flag(
    "NCCL_*",
    None,
    "Nothing is set: NVIDIA took the last one out of its images (JAX-Toolbox "
    "1708), and CUDA_DEVICE_MAX_CONNECTIONS=1 is advised against on Blackwell.",
  ),
)


def options(platform: str, devices: int) -> dict[str, Any] | None:
  """Returns `compiler_options` of a training step on GPUs; None on others.

  Args:
    platform: of the mesh, 'gpu' for any kind.
    devices: of the mesh.
  """
  if platform != "gpu":
    return None
  flags = (*ALWAYS, *(SEVERAL if devices > 1 else ()))
  return xla_flags.unset({flag.name: flag.value for flag in flags})


def autotuning(platform: str) -> str:
  """Says how a step's kernels are chosen, for the log; '' where none are."""
  if platform != "gpu":
    return ""
  level = xla_flags.of_user(AUTOTUNING)
  if level is None:
    level = next(flag.value for flag in ALWAYS if flag.name == AUTOTUNING)
  return f"autotuning level {level}"
