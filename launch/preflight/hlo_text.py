"""Reads the text of a compiled program: computations, instructions, loops.

HLO text is a list of computations, each a list of instructions, one a line:

    %name = f32[16,256]{1,0} opcode(%operand, ...), attribute=..., ...

What is read is the little that all versions of XLA print alike. A line that
does not look like that raises `NotUnderstood`, so a change of the format shows
as an error and never as a smaller number.
"""

import dataclasses
import functools
import math
import re
from collections.abc import Iterator

# Bits of an element; what is not here holds no data (token, opaque).
_BITS = {
  "pred": 8,
  **{f"{sign}{bits}": bits for sign in "su" for bits in (1, 2, 4, 8, 16, 32)},
  **{"s64": 64, "u64": 64, "f16": 16, "bf16": 16, "f32": 32, "f64": 64},
  **{"c64": 64, "c128": 128, "token": 0, "opaque": 0},
}

_COMPUTATION = re.compile(r"(ENTRY\s+)?%?([^\s(]+)\s.*\{\s*$")
_INSTRUCTION = re.compile(r"\s+(ROOT )?%?([^\s=]+) = ")
_ARRAY = re.compile(r"([a-z][a-z0-9]*)\[([0-9,<=]*)\](\{[^}]*\})?")
_OPCODE = re.compile(r"\s*([a-z][a-z0-9-]*)\(")
_NAME = re.compile(r"%([^\s,(){}=]+)")
_CALLED = re.compile(
  r"\b(calls|to_apply|body|condition|branch_computations|true_computation|"
  r"false_computation|called_computations)=(\{[^}]*\}|%[^\s,(){}=]+)"
)
# Of the opcodes with computations those that run them once.
_CALLERS = ("fusion", "call", "async-start")
_TRIPS = re.compile(r'"known_trip_count":\{"n":"?(\d+)')


class NotUnderstood(ValueError):
  """The text of a program holds what this file cannot read."""


@dataclasses.dataclass(frozen=True)
class Array:
  dtype: str
  dims: tuple[int, ...]
  space: int  # memory space; 0 is the main one, HBM on a TPU

  @property
  def size(self) -> int:
    return math.prod(self.dims)

  @property
  def bytes(self) -> int:
    bits = _BITS.get(self.dtype, 8 if self.dtype.startswith("f8") else None)
    if bits is None:
      raise NotUnderstood(f"element type {self.dtype}")
    return -(-self.size * bits // 8)


@dataclasses.dataclass(frozen=True)
class Instruction:
  name: str
  opcode: str
  arrays: tuple[Array, ...]  # of the result, a tuple's one after another
  inside: str  # what stands between the parentheses
  attributes: str  # what stands behind them
  is_root: bool

  @functools.cached_property
  def operands(self) -> tuple[str, ...]:
    return tuple(_NAME.findall(self.inside))

  @functools.cached_property
  def called(self) -> dict[str, tuple[str, ...]]:
    """Attribute, as in `body`, to the names of computations."""
    return {
      key: tuple(_NAME.findall(value))
      for key, value in _CALLED.findall(self.attributes)
    }

  @property
  def bytes(self) -> int:
    return sum(array.bytes for array in self.arrays)

  def attribute(self, pattern: str) -> str | None:
    """Returns the first group of a pattern in the attributes."""
    found = re.search(pattern, self.attributes)
    return found and found[1]

  @property
  def op_name(self) -> str:
    """The path in the source program, as in jit(step)/jvp(net)/add."""
    return self.attribute(r'op_name="([^"]*)"') or ""


@dataclasses.dataclass(frozen=True)
class Computation:
  name: str
  instructions: dict[str, Instruction]

  @functools.cached_property
  def root(self) -> Instruction:
    return next(i for i in self.instructions.values() if i.is_root)

  @functools.cached_property
  def parameters(self) -> dict[int, Instruction]:
    return {
      int(i.inside): i
      for i in self.instructions.values()
      if i.opcode == "parameter"
    }


@dataclasses.dataclass(frozen=True)
class Program:
  entry: str
  computations: dict[str, Computation]


def parse(text: str) -> Program:
  """Reads `compiled.as_text()`.

  Raises:
    NotUnderstood: a line of a computation is no instruction, or there is no
      entry computation.
  """
  computations, entry, name, instructions = {}, None, None, {}
  for line in text.splitlines():
    if name is None:
      header = _COMPUTATION.match(line)
      if header and not line.startswith("HloModule"):
        name, instructions = header[2], {}
        entry = name if header[1] else entry
    elif line.startswith("}"):
      computations[name] = Computation(name, instructions)
      name = None
    elif line.strip():
      instruction = _instruction(line)
      instructions[instruction.name] = instruction
  if entry is None or entry not in computations:
    raise NotUnderstood("the program has no entry computation")
  return Program(entry, computations)


def runs(program: Program) -> Iterator[tuple[Computation, int, bool]]:
  """Yields (computation, how often it runs, whether inside a fusion)."""
  waiting = [(program.entry, 1, False)]
  while waiting:
    name, rounds, fused = waiting.pop()
    computation = program.computations[name]
    yield computation, rounds, fused
    for instruction in computation.instructions.values():
      called = instruction.called
      if instruction.opcode == "while":
        trips = trip_count(program, computation, instruction)
        waiting.append((called["body"][0], rounds * trips, fused))
        waiting.append((called["condition"][0], rounds * (trips + 1), fused))
      elif instruction.opcode in _CALLERS:
        inside = fused or instruction.opcode == "fusion"
        for key in ("calls", "to_apply", "called_computations"):
          waiting += [(inner, rounds, inside) for inner in called.get(key, ())]
      elif instruction.opcode == "conditional":
        # An upper bound: every branch as if it were taken.
        branches = [inner for names in called.values() for inner in names]
        waiting += [(inner, rounds, fused) for inner in branches]


def sometimes(program: Program) -> frozenset[str]:
  """Returns the computations that run only where a conditional takes them."""
  found, always, waiting = set(), set(), [(program.entry, False)]
  while waiting:
    name, inside = waiting.pop()
    seen = found if inside else always
    if name in seen:
      continue
    seen.add(name)
    for instruction in program.computations[name].instructions.values():
      # Of a reduction the computation is applied, and is no code of its own.
      if instruction.opcode in (*_CALLERS, "while", "conditional"):
        branch = inside or instruction.opcode == "conditional"
        for names in instruction.called.values():
          waiting += [(one, branch) for one in names]
  return frozenset(found - always)


def trip_count(program: Program, where: Computation, loop: Instruction) -> int:
  """Returns how often the body of a while loop runs.

  XLA writes it down for a CPU. A TPU's text leaves it out: there the counter's
  start, step and bound are read from the program.

  Raises:
    NotUnderstood: the loop counts nothing that the text shows.
  """
  known = _TRIPS.search(loop.attributes)
  if known:
    return int(known[1])
  trips = _counted(program, where, loop)
  if trips is None:
    raise NotUnderstood(
      f"the number of rounds of the loop {loop.name} ({loop.op_name})"
    )
  return trips


def _counted(program, where, loop) -> int | None:
  condition = program.computations[loop.called["condition"][0]]
  body = program.computations[loop.called["body"][0]]
  compare, scope = condition.root, condition
  if compare.opcode == "fusion":
    inner = program.computations[compare.called["calls"][0]]
    compare, scope = inner.root, inner
    arguments = [
      _value(program, condition, name) for name in condition.root.operands
    ]
  else:
    arguments = None
  if compare.opcode != "compare" or "direction=LT" not in compare.attributes:
    return None
  counter, bound = (
    _value(program, scope, name, arguments) for name in compare.operands
  )
  start = where.instructions[loop.operands[0]]
  if start.opcode != "tuple" or body.root.opcode != "tuple":
    return None

  def at_start(value):
    """The value before the first round of what the loop carries."""
    if value is None or value[0] is None:
      return value
    first = _value(program, where, start.operands[value[0]])
    return first and (first[0], first[1] + value[1])

  if counter is None or counter[0] is None:
    return None
  after = _value(program, body, body.root.operands[counter[0]])
  first, last = at_start(counter), at_start(bound)
  if None in (after, first, last) or after[0] != counter[0]:
    return None
  if first[0] is not None or last[0] is not None or after[1] <= 0:
    return None
  if bound[0] is not None:
    kept = _value(program, body, body.root.operands[bound[0]])
    if kept != (bound[0], 0):
      return None
  return max(0, -(-(last[1] - first[1]) // after[1]))


def _value(program, scope, name, arguments=None):
  """Returns (index, n): element `index` of the scope's tuple plus n.

  The index is None for a constant; the whole is None for anything else.
  `arguments` are the values of the scope's parameters, inside a fusion.
  """
  instruction = scope.instructions[name]
  operands = instruction.operands
  if instruction.opcode == "constant":
    number = re.fullmatch(r"-?\d+", instruction.inside)
    return number and (None, int(number[0]))
  if instruction.opcode == "parameter" and arguments is not None:
    return arguments[int(instruction.inside)]
  if instruction.opcode in ("copy", "bitcast", "convert"):
    return _value(program, scope, operands[0], arguments)
  if instruction.opcode == "get-tuple-element":
    index = int(instruction.attribute(r"index=(\d+)"))
    carried = scope.instructions[operands[0]]
    if carried.opcode == "parameter" and arguments is None:
      return index, 0
    if carried.opcode == "tuple":
      return _value(program, scope, carried.operands[index], arguments)
    return None
  if instruction.opcode in ("add", "subtract"):
    a, b = (_value(program, scope, name, arguments) for name in operands)
    sign = 1 if instruction.opcode == "add" else -1
    if a and b and b[0] is None:
      return a[0], a[1] + sign * b[1]
    if a and b and a[0] is None and sign == 1:
      return b[0], a[1] + b[1]
    return None
  if instruction.opcode == "fusion":
    inner = program.computations[instruction.called["calls"][0]]
    values = [_value(program, scope, name, arguments) for name in operands]
    return _value(program, inner, inner.root.name, values)
  return None


def _instruction(line: str) -> Instruction:
  head = _INSTRUCTION.match(line)
  shape_end = head and _end_of_shape(line, head.end())
  opcode = head and _OPCODE.match(line, shape_end)
  if not opcode:
    raise NotUnderstood(f"this line: {line.strip()[:120]}")
  end = _closing(line, opcode.end() - 1)
  return Instruction(
    name=head[2],
    opcode=opcode[1],
    arrays=tuple(_arrays(line[head.end() : shape_end])),
    inside=line[opcode.end() : end],
    attributes=line[end + 1 :],
    is_root=bool(head[1]),
  )


def _arrays(shape: str) -> Iterator[Array]:
  for dtype, dims, layout in _ARRAY.findall(shape):
    space = re.search(r"S\((\d+)\)", layout)
    yield Array(
      dtype,
      tuple(int(d.lstrip("<=")) for d in dims.split(",") if d),
      int(space[1]) if space else 0,
    )


def _end_of_shape(line: str, start: int) -> int:
  if line[start] == "(":
    return _closing(line, start) + 1
  return line.index(" ", start)


def _closing(line: str, start: int) -> int:
  """Returns where the parenthesis that opens at `start` closes."""
  depth = 0
  for position in range(start, len(line)):
    if line[position] == "(":
      depth += 1
    elif line[position] == ")":
      depth -= 1
      if depth == 0:
        return position
  raise NotUnderstood(f"unbalanced parentheses: {line.strip()[:120]}")
