"""Reads the text of a lowered program: its convolutions and products.

`lowered.as_text(debug_info=True)` is StableHLO: the program before XLA has
chosen anything, the same on every machine. So laws about it need no accelerator
and no accelerator's compiler: `jax.jit(f).trace(...).lower(
lowering_platforms=("cuda",))` makes it on a CPU. Shapes are those of the whole
program, over all devices.

As in `hlo_text`, a convolution or a product that cannot be read raises
`NotUnderstood`, and never is left out.
"""

import dataclasses
import math
import re

from soundstream_jax.launch.preflight import hlo_text, lowered_work

_HIDDEN = "@CustomSPMDPartitioning"
_LOCATION = re.compile(r'^(#loc\d*) = loc\("([^"]*)"\(')
_AT = re.compile(r'loc\((?:(#loc\d*)|"([^"]*)".*)\)$')
_FUNCTION = re.compile(r"\s*func\.func .*?@([\w.$-]+|\"[^\"]+\")\(")
_CALL = re.compile(r"\bcall @([\w.$-]+|\"[^\"]+\")\(")
_CONSTANT = re.compile(
  r"\s*(%[\w#]+) = stablehlo\.constant dense<(-?\d+)> : tensor<[su]?i\d+>"
)
_LOOP = re.compile(r"stablehlo\.while\((.*?)\) : ")
_CARRIED = re.compile(r"(%[\w#]+) = (%[\w#]+)")
_LESS = re.compile(r"stablehlo\.compare +LT, (%[\w#]+), (%[\w#]+)")
_ADDED = re.compile(
  r"\s*(%[\w#]+) = stablehlo\.add (%[\w#]+), (%[\w#]+) : tensor<[su]?i\d+>"
)
_CONVOLUTION = re.compile(
  r"stablehlo\.convolution\(.*?\) dim_numbers = "
  r"\[(.*?)\]x\[(.*?)\]->\[(.*?)\], window = \{(.*?)\}"
  r"(.*) : \(tensor<(.*?)>, tensor<(.*?)>\) -> tensor<(.*?)>"
)
_PRODUCT = re.compile(
  r"stablehlo\.dot_general .*? contracting_dims = \[(.*?)\] x \[(.*?)\]"
  r".* : \(tensor<(.*?)>, tensor<(.*?)>\) -> tensor<(.*?)>"
)
_HARD = re.compile(r"stablehlo\.(convolution|dynamic_conv|dot_general|dot)\b")


def read(text: str) -> lowered_work.Work:
  """Reads `lowered.as_text(debug_info=True)`.

  Without debug_info paths are empty, and all else is the same.

  Raises:
    hlo_text.NotUnderstood: a convolution or a product has an unknown form, or
      is in a loop whose number of rounds the text does not show.
  """
  functions = _functions(text)
  if "main" not in functions:
    raise hlo_text.NotUnderstood("the program has no function main")
  done: dict[str, list] = {}

  def of(name: str) -> list:
    if name not in done:
      found = []
      for loops, path, item in functions.get(name, ()):
        inner = of(item) if isinstance(item, str) else [item]
        rounds = math.prod(loop.trips(path) for loop in loops) if inner else 1
        found += [
          dataclasses.replace(
            one,
            rounds=one.rounds * rounds,
            path=_joined(path, one.path) if isinstance(item, str) else one.path,
          )
          for one in inner
        ]
      done[name] = found
    return done[name]

  found = of("main")
  return lowered_work.Work(
    tuple(one for one in found if isinstance(one, lowered_work.Convolution)),
    tuple(one for one in found if isinstance(one, lowered_work.Product)),
    hidden=text.count(f"stablehlo.custom_call {_HIDDEN}("),
  )


def _joined(outer: str, inner: str) -> str:
  """The path of what stands in a function that is called."""
  if inner.startswith("jit(") or not outer:
    return inner
  return f"{outer}/{inner}" if inner else outer


class _Loop:
  """A while loop that counts from a constant to a constant."""

  def __init__(self, carried: dict[str, str]):
    self.carried = carried  # name inside to name outside
    self.start: dict[str, int | None] = {}
    self.counter: str | None = None
    self.bound: int | None = None
    self.steps: dict[str, tuple[str, int]] = {}  # sum to (what, constant)
    self.returned: list[str] = []

  def trips(self, path: str) -> int:
    start = self.start.get(self.counter)
    if start is not None and self.bound is not None:
      place = list(self.carried).index(self.counter)
      after = self.returned[place] if place < len(self.returned) else ""
      what, step = self.steps.get(after, ("", 0))
      if what == self.counter and step > 0:
        return max(0, -(-(self.bound - start) // step))
    raise hlo_text.NotUnderstood(f"the number of rounds of a loop ({path})")


def _functions(text: str) -> dict[str, list]:
  """Name to (loops around, path, what): a callee's name, or a work item."""
  lines = text.splitlines()
  paths = dict(
    found.groups() for line in lines if (found := _LOCATION.match(line))
  )
  functions: dict[str, list] = {}
  name = None
  regions: list[tuple[_Loop | None, dict[str, int]]] = []  # loop, constants
  waiting: _Loop | None = None  # a loop whose regions come next

  def constant(value: str) -> int | None:
    for _, known in reversed(regions):
      if value in known:
        return known[value]
    return None

  for line in lines:
    if line.startswith("#loc"):
      continue
    stripped = line.strip()
    if stripped.startswith("}"):
      closed = regions.pop() if regions else (None, {})
      if stripped.startswith("} do {"):
        waiting = closed[0]
    if found := _FUNCTION.match(line):
      name = found[1].strip('"')
      functions[name], regions = [], []
    if name is None:
      continue
    loops = tuple(dict.fromkeys(loop for loop, _ in regions if loop))
    if found := _CONSTANT.match(line):
      regions[-1][1][found[1]] = int(found[2])
    elif found := _LOOP.search(line):
      waiting = _Loop(dict(_CARRIED.findall(found[1])))
      waiting.start = {k: constant(v) for k, v in waiting.carried.items()}
    elif _HARD.search(line):
      item = _item(line, paths)
      functions[name].append((loops, item.path, item))
    elif found := _CALL.search(line):
      item = (loops, _path(line, paths), found[1].strip('"'))
      functions[name].append(item)
    elif regions and (loop := regions[-1][0]):
      _look(loop, line, constant)
    if stripped.endswith("{"):
      starts_loop = stripped.endswith(("cond {", "} do {"))
      regions.append((waiting if starts_loop else None, {}))
  return functions


def _look(loop: _Loop, line: str, constant) -> None:
  """Notes what a line of a loop's own regions says about its rounds."""
  if found := _LESS.search(line):
    if found[1] in loop.carried and loop.counter is None:
      loop.counter = found[1]
      loop.bound = constant(found[2])
      if found[2] in loop.carried:
        loop.bound = loop.start[found[2]]
  elif found := _ADDED.match(line):
    step = constant(found[3])
    if step is not None:
      loop.steps[found[1]] = (found[2], step)
  elif line.strip().startswith("stablehlo.return"):
    loop.returned = re.findall(r"%[\w#]+", line.partition(" : ")[0])


def _path(line: str, paths: dict[str, str]) -> str:
  found = _AT.search(line)
  if not found:
    return ""
  return found[2] if found[2] is not None else paths.get(found[1], "")


def _item(
  line: str, paths: dict[str, str]
) -> lowered_work.Convolution | lowered_work.Product:
  path = _path(line, paths)
  if found := _CONVOLUTION.search(line):
    image, kernel, result, window, rest, *shapes = found.groups()
    (left, dtype), (right, _), (out, _) = map(_shape, shapes)
    rank = len(left) - 2
    pads = re.search(r"pad = \[(\[.*?\])\]", window)
    pairs = re.findall(r"\[(-?\d+), (-?\d+)\]", pads[1]) if pads else ()
    return lowered_work.Convolution(
      path=path,
      rounds=1,
      image=left,
      kernel=right,
      result=out,
      dtype=dtype,
      labels=tuple(x.replace(", ", "") for x in (image, kernel, result)),
      stride=_field(window, "stride", rank),
      pad=tuple((int(a), int(b)) for a, b in pairs) or ((0, 0),) * rank,
      lhs_dilate=_field(window, "lhs_dilate", rank),
      rhs_dilate=_field(window, "rhs_dilate", rank),
      groups=int(re.search(r"feature_group_count = (\d+)", rest)[1]),
      batch_groups=int(re.search(r"batch_group_count = (\d+)", rest)[1]),
    )
  if found := _PRODUCT.search(line):
    (left, dtype), (right, _), (out, _) = map(_shape, found.groups()[2:])
    summed = [int(d) for d in found[1].split(",") if d.strip()]
    terms = math.prod(left[d] for d in summed)
    return lowered_work.Product(path, 1, left, right, out, dtype, terms)
  raise hlo_text.NotUnderstood(f"this line: {line.strip()[:120]}")


def _shape(text: str) -> tuple[tuple[int, ...], str]:
  *dims, dtype = text.split(",")[0].split("x")
  return tuple(map(int, dims)), dtype


def _field(window: str, name: str, rank: int) -> tuple[int, ...]:
  found = re.search(rf"\b{name} = \[([0-9, ]*)\]", window)
  if not found:
    return (1,) * rank
  return tuple(int(n) for n in found[1].split(",") if n.strip())
