"""Lists what a program launches on a GPU: fusions, library calls, copies.

Each instruction outside a fusion that computes or moves is one launch at least.
A library's call may be several (cuDNN transposes, splits a sum), and CUDA graphs
make many launches one: the number is what the compiler has written down.
"""

import dataclasses

from soundstream_jax.launch.preflight import (
  gpu_calls,
  hlo_text,
  program_cost,
)

KINDS = ("fusion", "library", "copy", "collective", "other")
# Below this a kernel's time is that of its launch, on all GPUs of today.
SMALL_BYTES = 1_000_000


@dataclasses.dataclass(frozen=True)
class Kernel:
  kind: str  # of KINDS
  name: str
  op_name: str  # in the source program
  rounds: int  # how often it runs
  bytes: int  # that one run reads and writes
  products: tuple[gpu_calls.Call, ...]  # inside it
  sometimes: bool = False  # in a branch, as of steps that are logged


def find(
  program: hlo_text.Program, calls: list[gpu_calls.Call]
) -> list[Kernel]:
  """Returns what a program launches.

  Args:
    program: compiled.
    calls: its products, of `gpu_calls.find`.
  """
  by_name = {}
  for call in calls:
    by_name.setdefault(call.name, []).append(call)
  found, branches = [], hlo_text.sometimes(program)
  for scope, rounds, fused in hlo_text.runs(program):
    if fused:
      continue
    for instruction in scope.instructions.values():
      kind = _kind(instruction)
      if kind is None:
        continue
      inside = [instruction.name]
      if kind == "fusion":
        inside += _names(program, instruction)
      found.append(
        Kernel(
          kind,
          instruction.name,
          instruction.op_name,
          rounds,
          program_cost.traffic(program, scope, instruction),
          tuple(one for name in inside for one in by_name.get(name, ())),
          scope.name in branches,
        )
      )
  return found


def count(kernels: list[Kernel]) -> dict[str, dict[str, int]]:
  """Kind to how many, how many launches, and launches that move little."""
  table = {kind: {"kernels": 0, "launches": 0, "small": 0} for kind in KINDS}
  for one in kernels:
    row = table[one.kind]
    row["kernels"] += 1
    row["launches"] += one.rounds
    if one.bytes < SMALL_BYTES:
      row["small"] += one.rounds
  return table


def _kind(instruction) -> str | None:
  opcode = instruction.opcode
  if opcode.removesuffix("-start") in program_cost.COLLECTIVES:
    return "collective"
  if program_cost.is_free(opcode):
    return None
  if opcode == "fusion":
    return "fusion"
  if opcode == "custom-call":
    return "library"
  return "copy" if opcode in ("copy", "copy-start") else "other"


def _names(program, fusion) -> list[str]:
  """Names of all instructions inside a fusion, and inside those in it."""
  found = []
  for computation in fusion.called.get("calls", ()):
    for one in program.computations[computation].instructions.values():
      found.append(one.name)
      if one.opcode == "fusion":
        found += _names(program, one)
  return found
