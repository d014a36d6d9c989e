"""Reports on a program that was compiled for a GPU: plain JSON values.

What it says, and how far each figure can be trusted without a GPU, is in
`SOUND` and `NOT_KNOWN`, which every report carries.
"""

import dataclasses
import os
import re

from soundstream_jax.launch.preflight import (
  gpu_calls,
  hlo_text,
  kernels,
  lowered_text,
  program_cost,
  roofline,
  topologies,
)

GIB = 2**30
# jax takes this share of a GPU's memory when it starts, and lives in it.
FRACTION = 0.75
FRACTIONS = ("XLA_CLIENT_MEM_FRACTION", "XLA_PYTHON_CLIENT_MEM_FRACTION")
# Guesses. The scratch memory of cuDNN's and cuBLAS's calls, in that share: the
# text gives each of cuDNN's none, and autotuning tries larger ones.
WORKSPACE_BYTES = 2 * GIB
# Beside that share: CUDA's context, and NCCL's buffers of several GPUs.
CONTEXT_BYTES = GIB // 2
NCCL_BYTES = GIB
# Kernels that take longest, as the roofline has them.
LONGEST = 10

# Parts of a step, by names in the paths of its instructions; the first holds.
# Apart is what stands in a conditional's branches: more is measured in steps that
# are logged, and the tables count it as if each step were.
SOMETIMES = "branches"
PARTS = {
  "wave_discriminator": r"/wave_\d",
  "stft_discriminator": r"/stft",
  "generator": r"SoundStream",
  "other": r"",
}

SOUND = (
  "which convolutions are grouped, filled, stuffed or take a whole clip",
  "FLOPs that the calls are given; bytes that the instructions name",
  "collectives, their number and bytes",
  "sizes of arguments, temporaries and their peak",
)
NOT_KNOWN = (
  "any time: the roofline is a bound by assumptions, not an estimate",
  "cuDNN's algorithm, its workspace (a guess is in the reserve) and layouts",
  "tiles and fusions after autotuning, whether Triton takes a product",
  "memory of CUDA graphs, NCCL and the CUDA context (guesses)",
)


def of(
  text: str,
  lowered: str,
  collectives: list[dict],
  topology: topologies.Topology,
  *,
  devices: int,
) -> dict:
  """Returns the part of a report that only GPUs have.

  Args:
    text: the compiled program.
    lowered: the same before compilation, with debug_info.
    collectives: of the compiled program, `program_cost.Collective` each.
    topology: whose GPUs it is for.
    devices: that the program runs on.
  """
  program = hlo_text.parse(text)
  calls = gpu_calls.find(program)
  launched = kernels.find(program, calls)
  work = lowered_text.read(lowered)
  gpu = topology.gpu
  moved = [program_cost.Collective(**one) for one in collectives]

  def bound(found) -> roofline.Bound:
    return roofline.of(found, moved, gpu, devices=devices, hosts=topology.hosts)

  usual = bound([one for one in launched if not one.sometimes])
  executed = sum(call.flops * call.rounds for call in calls)
  return {
    "gpu": dataclasses.asdict(gpu) | {"capability": list(gpu.capability)},
    "useful_flops": work.flops / devices,
    "useful_flops_hide": work.hidden,
    "product_flops": executed,
    "convolutions": _convolutions(work, calls, devices),
    "parts": _parts(work, launched, devices),
    "library_calls": _library_calls(calls),
    "kernels": kernels.count(launched),
    "collective_seconds": {
      "nvlink": sum(
        one.rounds * roofline.nvlink_seconds(one, gpu, devices=devices)
        for one in moved
      ),
      "network": sum(
        one.rounds
        * roofline.network_seconds(
          one, gpu, devices=devices, hosts=topology.hosts
        )
        for one in moved
      ),
    },
    "roofline": {
      "seconds": dataclasses.asdict(usual) | {"total": usual.total},
      "seconds_with_branches": bound(launched).total,
      "assumptions": roofline.assumptions(gpu),
      "longest": _longest(launched, gpu),
    },
    "sound": list(SOUND),
    "not_known": list(NOT_KNOWN),
  }


def _convolutions(work, calls, devices) -> dict:
  """Kind to its number and FLOPs per device; some kinds only the compiler has.

  `written` counts convolutions of the program that was lowered, and the FLOPs
  that are useful; `compiled` those that a library is called for, and all that
  they execute, with and without the zeros that stand between others.
  """
  written = {
    kind: row | {"flops": row["flops"] / devices}
    for kind, row in work.by_kind().items()
  }
  return {"written": written, "compiled": gpu_calls.by_kind(calls)}


def _parts(work, launched, devices) -> dict:
  """Part of a step to its FLOPs, useful and executed, and its bytes."""
  table = {
    part: {"useful_flops": 0.0, "product_flops": 0.0, "bytes": 0}
    for part in (*PARTS, SOMETIMES)
  }

  def of(path: str, *, sometimes: bool) -> dict:
    if sometimes:
      return table[SOMETIMES]
    return table[
      next(part for part, words in PARTS.items() if re.search(words, path))
    ]

  for one in (*work.convolutions, *work.products):
    row = of(one.path, sometimes="cond/branch_" in one.path)
    row["useful_flops"] += one.flops * one.rounds / devices
  for kernel in launched:
    row = of(kernel.op_name, sometimes=kernel.sometimes)
    row["bytes"] += kernel.bytes * kernel.rounds
    for call in kernel.products:
      row = of(call.op_name, sometimes=kernel.sometimes)
      row["product_flops"] += call.flops * call.rounds
  return table


def _library_calls(calls) -> dict[str, int]:
  found = {}
  for call in calls:
    name = f"{call.library or 'xla'} {call.what}"
    found[name] = found.get(name, 0) + 1
  return dict(sorted(found.items(), key=lambda item: -item[1]))


def _longest(launched, gpu) -> list[dict]:
  """The kernels that the roofline gives most time, those of a place together."""
  places = {}
  for one in launched:
    call = one.products[0] if one.products else None
    what = f"{call.kind} {call.what}" if call else one.kind
    row = places.setdefault(
      (one.op_name or one.name.rstrip(".0123456789"), what),
      {"launches": 0, "seconds": 0.0, "bytes": 0},
    )
    row["launches"] += one.rounds
    row["seconds"] += one.rounds * roofline.kernel_seconds(one, gpu)
    row["bytes"] += one.rounds * one.bytes
  longest = sorted(places.items(), key=lambda item: -item[1]["seconds"])
  return [
    {"op_name": name, "what": what, **row}
    for (name, what), row in longest[:LONGEST]
  ]


def memory_limit(topology: topologies.Topology) -> int:
  """Bytes that a program can have on a GPU, which is not all of them."""
  total = topology.gpu.memory_bytes
  beside = CONTEXT_BYTES + (NCCL_BYTES if topology.size > 1 else 0)
  return min(int(total * fraction()), total - beside)


def fraction() -> float:
  """Share of a GPU's memory that jax takes, by the environment or default."""
  for name in FRACTIONS:
    try:
      return float(os.environ[name])
    except (KeyError, ValueError):
      continue
  return FRACTION
