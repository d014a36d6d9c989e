"""Counts what a compiled program costs on one device, loops as they run.

XLA's own `cost_analysis` counts the body of a loop once. Here every instruction
counts as often as it runs: the entry computation once, the body of a while
loop its number of rounds, and so on through the calls.

FLOPs follow XLA's rules (2 per multiply-add of dot and convolution, padding
left out; 1 per element of other arithmetic; none for exp, sqrt and the like,
which it counts apart). Bytes are what instructions read and write in the main
memory; what a TPU keeps in its vector memory is not counted. Cycles are the
compiler's `estimated_cycles`, one instruction after another: transfers that
overlap and collectives, which carry no estimate, are left out.
"""

import collections
import dataclasses
import math

from soundstream_jax.launch.preflight import hlo_text, products

COLLECTIVES = (
  "all-reduce",
  "all-gather",
  "reduce-scatter",
  "all-to-all",
  "ragged-all-to-all",
  "collective-permute",
  "collective-broadcast",
)


def _words(text: str) -> frozenset[str]:
  return frozenset(text.split())


# No arithmetic and no memory: names, constants, and calls, whose computations
# are counted by themselves.
_FREE = _words("""
  parameter constant tuple get-tuple-element bitcast after-all while call
  conditional domain opt-barrier partition-id replica-id async-start
  async-update async-done
""")
_MOVES = _words("""
  broadcast reshape transpose copy slice dynamic-slice dynamic-update-slice
  concatenate pad reverse iota gather scatter sort copy-start slice-start
  send recv infeed outfeed rng-bit-generator rng-get-and-update-state topk
  bitcast-convert complex
""")
_ARITHMETIC = _words("""
  abs add and ceil clamp clz compare convert divide exponent floor imag
  is-finite maximum minimum multiply negate not or popcnt real
  reduce-precision remainder round-nearest-afz round-nearest-even select
  shift-left shift-right-arithmetic shift-right-logical sign
  stochastic-convert subtract xor add-dependency rng map
""")
_TRANSCENDENTAL = _words("""
  atan2 cbrt cosine erf exponential exponential-minus-one log log-plus-one
  logistic power rsqrt sine sqrt tan tanh acos asin acosh asinh atanh sinh
  cosh
""")


@dataclasses.dataclass(frozen=True)
class Collective:
  """One collective instruction of the text."""

  kind: str
  bytes: int  # per run and device: of the whole result, or of what is scattered
  rounds: int  # how often it runs
  op_name: str


@dataclasses.dataclass
class Cost:
  flops: float = 0.0
  flops_once: float = 0.0  # with every loop counted once, as XLA counts
  bytes: float = 0.0
  cycles: float = 0.0
  collectives: list[Collective] = dataclasses.field(default_factory=list)
  # Opcodes and targets of custom calls whose arithmetic is not known.
  uncounted: collections.Counter = dataclasses.field(
    default_factory=collections.Counter
  )

  def collective_bytes(self) -> dict[str, int]:
    """Kind to bytes per device and run of the program."""
    total = collections.Counter()
    for c in self.collectives:
      total[c.kind] += c.bytes * c.rounds
    return dict(total)


def of(text: str) -> Cost:
  """Counts a program.

  Args:
    text: `compiled.as_text()`.

  Raises:
    hlo_text.NotUnderstood: an unknown number of rounds, or unreadable text.
  """
  program = hlo_text.parse(text)
  cost = Cost()
  for computation, rounds, fused in hlo_text.runs(program):
    for instruction in computation.instructions.values():
      _count(cost, program, computation, instruction, rounds, fused)
  return cost


def _count(cost, program, scope, instruction, rounds, fused) -> None:
  flops = _flops(cost, scope, instruction)
  cost.flops += flops * rounds
  cost.flops_once += flops
  if not fused:
    cost.bytes += traffic(program, scope, instruction) * rounds
  cycles = instruction.attribute(r'"estimated_cycles":"?(\d+)')
  # Inside a fusion the fusion's own estimate covers them.
  if cycles and not fused:
    cost.cycles += int(cycles) * rounds
  kind = instruction.opcode.removesuffix("-start")
  if kind in COLLECTIVES:
    size = _payload(scope, instruction, kind)
    cost.collectives.append(Collective(kind, size, rounds, instruction.op_name))


def _payload(scope, instruction, kind) -> int:
  given = sum(scope.instructions[name].bytes for name in instruction.operands)
  if kind in ("all-reduce", "reduce-scatter", "all-to-all"):
    return given
  if instruction.opcode.endswith("-start"):
    # Its result lists operands and results.
    return max(given, instruction.bytes - given)
  return instruction.bytes


def _flops(cost, scope, instruction) -> float:
  opcode = instruction.opcode
  size = max((array.size for array in instruction.arrays), default=0)
  if opcode in _ARITHMETIC:
    return size
  if opcode in _FREE or opcode in _MOVES or opcode in _TRANSCENDENTAL:
    return 0.0
  if opcode == "fusion" or opcode.endswith("-done"):
    return 0.0
  product = products.flops(scope, instruction)
  if product is not None:
    return product
  operands = [scope.instructions[name] for name in instruction.operands]
  if opcode == "reduce":
    # One operation for every element that is folded into another.
    return max(0, operands[0].arrays[0].size - size) * len(instruction.arrays)
  if opcode in ("reduce-window", "select-and-scatter"):
    window = instruction.attribute(r"size=([0-9x]+)") or "1"
    return float(size * (math.prod(map(int, window.split("x"))) - 1))
  if opcode == "fft":
    length = instruction.attribute(r"fft_length=\{([0-9,]+)\}") or "1"
    passes = math.prod(int(n).bit_length() - 1 for n in length.split(","))
    return 8.0 * passes * operands[0].arrays[0].size
  if opcode.removesuffix("-start") in COLLECTIVES:
    return 0.0
  if any(word in opcode for word in ("all-", "collective", "scatter")):
    raise hlo_text.NotUnderstood(f"the collective {opcode}")
  target = instruction.attribute(r'custom_call_target="([^"]*)"')
  cost.uncounted[target or opcode] += 1
  return 0.0


def is_free(opcode: str) -> bool:
  """Whether it neither computes nor moves; calls count inside themselves."""
  return opcode in _FREE or opcode.endswith("-done")


def traffic(program, scope, instruction) -> int:
  """Bytes that one instruction reads and writes in the main memory."""
  opcode = instruction.opcode
  if is_free(opcode):
    return 0
  operands = [scope.instructions[name] for name in instruction.operands]
  if opcode in ("dynamic-slice", "slice", "gather"):
    return 2 * _main(instruction)
  if opcode in ("dynamic-update-slice", "scatter"):
    return 2 * _main(operands[-1 if opcode == "scatter" else 1])
  if opcode == "fusion":
    return _fusion_traffic(program, instruction, operands)
  if opcode.endswith("-start"):
    # Its result lists source and target.
    return _main(instruction)
  if products.target(instruction).startswith(products.LIBRARIES):
    # What else a result lists is the library's scratch memory.
    return instruction.arrays[0].bytes + sum(map(_main, operands))
  return _main(instruction) + sum(map(_main, operands))


def _fusion_traffic(program, fusion, operands) -> int:
  """Of a sliced operand the slice counts, of an updated one the update."""
  inner = program.computations[fusion.called["calls"][0]]
  users = collections.defaultdict(list)
  for instruction in inner.instructions.values():
    for name in instruction.operands:
      users[name].append(instruction)
  total, updated = 0, 0
  for index, operand in enumerate(operands):
    name = inner.parameters[index].name
    if not _main(operand):
      continue
    used = users[name]
    if used and all(
      user.opcode in ("dynamic-slice", "slice", "gather")
      and user.operands[0] == name
      for user in used
    ):
      total += sum(user.bytes for user in used)
    elif len(used) == 1 and (
      used[0].opcode == "dynamic-update-slice" and used[0].operands[0] == name
    ):
      update = inner.instructions[used[0].operands[1]].bytes
      total += update
      updated += operand.bytes
    else:
      total += _main(operand)
  return total + max(0, _main(fusion) - updated)


def _main(instruction) -> int:
  return sum(a.bytes for a in instruction.arrays if a.space == 0)
