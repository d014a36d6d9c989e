"""Finds the products of a program that was compiled for a GPU, by kind.

They are calls of cuDNN and cuBLAS, or fusions that Triton or cuDNN compiles.
What a call is given says how well XLA has understood the convolution; it takes
no GPU to see it. Which algorithm runs it is chosen on the GPU alone.
"""

import dataclasses
import functools
import math

from soundstream_jax.launch.preflight import hlo_text, products

# The kernel of a call that is the whole clip has as many taps at least.
WHOLE_CLIP_TAPS = 100

# The first that holds names a convolution. `filled`: zeros stand between the
# taps of its kernel; `zero_stuffed`: between the elements of an activation.
KINDS = (
  "whole_clip",
  "filled",
  "zero_stuffed",
  "grouped",
  "strided",
  "ordinary",
)
BAD_KINDS = ("whole_clip", "filled", "zero_stuffed", "grouped")

# What hands its first operand on, element by element.
_SAME_ELEMENTS = (
  *("bitcast", "copy", "transpose", "reshape", "convert", "reverse", "slice"),
  *("dynamic-slice", "copy-start", "copy-done"),
)


@dataclasses.dataclass(frozen=True)
class Call:
  """One call, or one product inside a fusion."""

  library: str  # cudnn, cublas or fusion
  what: str  # Forward, BiasActivationForward, ..., matmul, dot
  name: str  # of the instruction
  op_name: str  # in the source program
  rounds: int  # how often it runs
  dtype: str  # of the first operand, as in bf16
  flops: float  # executed in one run
  useful_share: float  # of them, without the zeros that XLA has put in
  kind: str  # of KINDS; of a product `product`
  window: tuple[int, ...]
  groups: int
  # The result as a matrix, of each group or batch, and how many there are.
  rows: int
  columns: int
  matrices: int

  @property
  def terms(self) -> float:
    """Of the sum that makes one element of its result."""
    return self.flops / (2 * self.matrices * self.rows * self.columns)

  @property
  def splits_sums(self) -> bool:
    """Whether the library has kernels that share a long sum out."""
    return self.what == "BackwardFilter" or self.library == "cublas"

  def tiles(self, side: int) -> int:
    """Tiles of side x side that its results consist of."""
    return self.matrices * -(-self.rows // side) * -(-self.columns // side)


def read(text: str) -> list[Call]:
  """Reads `compiled.as_text()`, as `find` does."""
  return find(hlo_text.parse(text))


def find(program: hlo_text.Program) -> list[Call]:
  """Returns the products of a program, in the order of its computations.

  Raises:
    hlo_text.NotUnderstood: a product has an unknown form, or runs an unknown
      number of times.
  """
  callers = _callers(program)
  found = []
  for scope, rounds, fused in hlo_text.runs(program):
    for instruction in scope.instructions.values():
      flops = products.flops(scope, instruction)
      if flops is None:
        continue
      place = _Place(program, callers, scope, None)
      if instruction.opcode == "custom-call":
        called = products.target(instruction)
        of = _convolution if called.startswith(products.CUDNN) else _matmul
        found.append(of(place, instruction, rounds, flops))
      else:
        call = _inside(place, instruction, rounds, flops)
        found.append(call if fused else dataclasses.replace(call, library=""))
  return found


def by_kind(calls: list[Call]) -> dict[str, dict[str, float]]:
  """Kind to calls, executed FLOPs and those without inserted zeros."""
  table = {
    kind: {"calls": 0, "flops": 0.0, "flops_without_zeros": 0.0}
    for kind in (*KINDS[::-1], "product")
  }
  for call in calls:
    row = table[call.kind]
    row["calls"] += 1
    row["flops"] += call.flops * call.rounds
    row["flops_without_zeros"] += call.flops * call.rounds * call.useful_share
  return table


def faults(calls: list[Call]) -> list[str]:
  """One line for each convolution that a GPU's library does badly."""
  return [
    f"{call.op_name}: {call.kind}, window {'x'.join(map(str, call.window))}, "
    f"{call.groups} groups ({call.what})"
    for call in calls
    if call.kind in BAD_KINDS
  ]


def _convolution(place, instruction, rounds, flops) -> Call:
  x, kernel, y = products.roles(place.scope, instruction)
  image, taps, out = products.labels(instruction)
  what = products.target(instruction).removeprefix(products.CUDNN)
  groups, size = products.groups(instruction), products.window(instruction)
  first, second = map(place.share_without_zeros, instruction.operands[:2])
  inputs = kernel.dims[taps.index("i")]
  outputs = kernel.dims[taps.index("o")] // groups
  if what == "BackwardInput":
    rows, columns = x.size // x.dims[image.index("f")], inputs
  elif what == "BackwardFilter":
    rows, columns = outputs, inputs * math.prod(size)
  else:
    rows, columns = y.size // y.dims[out.index("f")], outputs
  call = _product(place, "cudnn", what, instruction, rounds, flops)
  both = what == "BackwardFilter"  # are activations, and no kernel
  return dataclasses.replace(
    call,
    useful_share=first * second,
    kind=_kind(
      instruction,
      filled=second < 1 and not both,
      stuffed=first < 1 or (second < 1 and both),
    ),
    window=size,
    groups=groups,
    rows=rows,
    columns=columns,
    matrices=groups,
  )


def _kind(instruction, *, filled: bool, stuffed: bool) -> str:
  taps = max(products.window(instruction), default=1)
  stride = max(products.window(instruction, "stride"), default=1)
  holds = {
    "whole_clip": taps >= WHOLE_CLIP_TAPS,
    "filled": filled,
    "zero_stuffed": stuffed,
    "grouped": products.groups(instruction) > 1,
    "strided": stride > 1,
    "ordinary": True,
  }
  return next(kind for kind in KINDS if holds[kind])


def _matmul(place, instruction, rounds, flops) -> Call:
  what = products.target(instruction).removeprefix(products.CUBLAS)
  return _product(place, "cublas", what, instruction, rounds, flops)


def _inside(place, instruction, rounds, flops) -> Call:
  """A dot or a convolution that no library is called for."""
  call = _product(
    place, "fusion", instruction.opcode, instruction, rounds, flops
  )
  if instruction.opcode == "dot":
    return call
  result = instruction.arrays[0]
  groups = products.groups(instruction)
  features = result.dims[products.labels(instruction)[2].index("f")]
  first, second = map(place.share_without_zeros, instruction.operands[:2])
  spread = products.window(instruction, "rhs_dilate")
  stretch = products.window(instruction, "lhs_dilate")
  return dataclasses.replace(
    call,
    kind=_kind(
      instruction,
      filled=second < 1 or max(spread, default=1) > 1,
      stuffed=first < 1 or max(stretch, default=1) > 1,
    ),
    useful_share=first * second,
    window=products.window(instruction),
    groups=groups,
    rows=result.size // features,
    columns=features // groups,
    matrices=groups,
  )


def _product(place, library, what, instruction, rounds, flops) -> Call:
  """A matrix or several, the last two axes of the result."""
  result = instruction.arrays[0]
  rows, columns = (*(1, 1), *result.dims)[-2:]
  first = place.scope.instructions[instruction.operands[0]]
  return Call(
    library=library,
    what=what,
    name=instruction.name,
    op_name=instruction.op_name,
    rounds=rounds,
    dtype=first.arrays[0].dtype,
    flops=flops,
    useful_share=1.0,
    kind="product",
    window=(),
    groups=1,
    rows=rows,
    columns=columns,
    matrices=result.size // max(1, rows * columns),
  )


def _callers(program) -> dict:
  """Computation to (where, instruction) of its one call; None if several."""
  callers = {}
  for scope in program.computations.values():
    for instruction in scope.instructions.values():
      if instruction.opcode in ("fusion", "call", "async-start"):
        for names in instruction.called.values():
          for name in names:
            known = name in callers
            callers[name] = None if known else (scope, instruction)
  return callers


@dataclasses.dataclass(frozen=True)
class _Place:
  """A computation, as one of its calls reaches it."""

  program: hlo_text.Program
  callers: dict
  scope: hlo_text.Computation
  outer: tuple | None  # (place, instruction) of the call, if it is known

  def share_without_zeros(self, name: str) -> float:
    """Share of an array's elements that no pad has put between others."""
    place = self
    while True:
      instruction = place.scope.instructions[name]
      opcode, operands = instruction.opcode, instruction.operands
      if opcode == "pad":
        share = _share(place.scope, instruction)
        if share < 1:
          return share
        name = operands[0]
      elif opcode in _SAME_ELEMENTS:
        name = operands[0]
      elif opcode == "parameter":
        outer = place.caller
        if outer is None:
          return 1.0
        place, call = outer
        name = call.operands[int(instruction.inside)]
      elif opcode in ("fusion", "get-tuple-element"):
        inner = place.enter(instruction)
        if inner is None:
          return 1.0
        place, name = inner
      else:
        return 1.0

  @functools.cached_property
  def caller(self):
    if self.outer:
      return self.outer
    found = self.callers.get(self.scope.name)
    if found is None:
      return None
    return _Place(self.program, self.callers, found[0], None), found[1]

  def enter(self, instruction):
    """Returns (place, name) of what makes a fusion's result, if it is one."""
    index = None
    if instruction.opcode == "get-tuple-element":
      index = int(instruction.attribute(r"index=(\d+)"))
      instruction = self.scope.instructions[instruction.operands[0]]
      if instruction.opcode == "tuple":
        return self, instruction.operands[index]
    if instruction.opcode != "fusion":
      return None
    inner = self.program.computations[instruction.called["calls"][0]]
    name = inner.root.name if index is None else inner.root.operands[index]
    return _Place(self.program, self.callers, inner, (self, instruction)), name


def _share(scope, pad) -> float:
  """Elements over places of a pad's input, with what stands between them."""
  text = pad.attribute(r"padding=([0-9x_-]+)")
  if text is None:
    raise hlo_text.NotUnderstood(f"the pad {pad.name}")
  between = [
    int(axis.split("_")[2]) if axis.count("_") == 2 else 0
    for axis in text.split("x")
  ]
  dims = scope.instructions[pad.operands[0]].arrays[0].dims
  return math.prod(
    n / ((n - 1) * (1 + zeros) + 1)
    for n, zeros in zip(dims, between, strict=True)
    if n and zeros
  )
