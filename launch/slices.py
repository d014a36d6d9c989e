"""Slices of TPUs that exist, and the chips that they are made of.

One table, for all that name a slice. Its sources are Google Cloud's pages:
"TPU v4", "TPU v5e", "TPU v5p" and "TPU v6e" (memory, peak in bfloat16, shapes
of a slice), "TPU types and topologies" (which shapes of three axes there are)
and, for chips per host, GKE's "Plan TPUs". No page gives a clock. It is taken
from the peak, which is clock * matrix units * 2 * 128 * 128 with the pages'
count of units: 1.05 GHz for v4 agrees with Jouppi et al. 2023,
arXiv:2304.01433. For v6e the count is not clear, and none is given.
"""

import dataclasses
import itertools
import math
import re

from soundstream_jax import errors

GIB = 2**30

# Of every host of a slice of several. 2x4 of v5e and v6e is also to be had as
# one host of eight chips; here it is two of four, as every larger slice.
CHIPS_PER_HOST = 4

# A cube of 4x4x4 chips is the smallest part of a v4 or v5p that is wired by
# switches, so larger slices are made of whole ones.
CUBE = 4


def _boxes(most_chips: int) -> tuple[tuple[int, ...], ...]:
  """Returns the shapes of v4 and v5p, up to that many chips.

  A cube or a part of one, else AxBxC with A <= B <= C, all multiples of 4.
  """
  parts = ((2, 2, 1), (2, 2, 2), (2, 2, 4), (2, 4, 4))
  sides = range(CUBE, most_chips // CUBE**2 + 1, CUBE)
  cubes = (
    shape
    for shape in itertools.combinations_with_replacement(sides, 3)
    if math.prod(shape) <= most_chips
  )
  return parts + tuple(
    sorted(cubes, key=lambda shape: (math.prod(shape), shape))
  )


# v5e and v6e.
_SHEETS = (
  *((1, 1), (2, 2), (2, 4), (4, 4)),
  *((4, 8), (8, 8), (8, 16), (16, 16)),
)


@dataclasses.dataclass(frozen=True)
class Chip:
  """A generation of TPUs."""

  accelerator: str  # as in TPU_ACCELERATOR_TYPE
  gke: str  # as in gke-tpu-accelerator
  cores: int  # that count in the accelerator's name
  memory_bytes: int
  peak_flops: float  # bfloat16, per second
  clock_hz: float | None
  shapes: tuple[tuple[int, ...], ...]  # of its slices, the smallest first


# The largest: a pod of v4, and the largest job of v5p, 16x16x24.
CHIPS = {
  "v4": Chip(
    "v4", "tpu-v4-podslice", 2, 32 * GIB, 275e12, 1.05e9, _boxes(4096)
  ),
  "v5e": Chip(
    "v5litepod", "tpu-v5-lite-podslice", 1, 16 * GIB, 197e12, 1.5e9, _SHEETS
  ),
  "v5p": Chip(
    "v5p", "tpu-v5p-slice", 2, 95 * GIB, 459e12, 1.75e9, _boxes(6144)
  ),
  "v6e": Chip("v6e", "tpu-v6e-slice", 1, 32 * GIB, 918e12, None, _SHEETS),
}


@dataclasses.dataclass(frozen=True)
class Slice:
  """A slice that exists."""

  generation: str  # key of CHIPS
  shape: tuple[int, ...]

  @property
  def name(self) -> str:
    return f"{self.generation}:{self.sizes}"

  @property
  def sizes(self) -> str:
    return "x".join(map(str, self.shape))

  @property
  def chip(self) -> Chip:
    return CHIPS[self.generation]

  @property
  def num_chips(self) -> int:
    return math.prod(self.shape)

  @property
  def chips_per_host(self) -> int:
    return min(self.num_chips, CHIPS_PER_HOST)

  @property
  def hosts(self) -> int:
    return self.num_chips // self.chips_per_host


def every() -> list[Slice]:
  """Returns all slices that exist."""
  return [
    Slice(generation, shape)
    for generation, chip in CHIPS.items()
    for shape in chip.shapes
  ]


def parse(name: str, *, others: tuple[str, ...] = ()) -> Slice:
  """Returns the slice that --topology names, as in v5e:4x4.

  Args:
    name: its value.
    others: what else may be named, for the message.

  Raises:
    InputError: there is no such slice, with the nearest that there are.
  """
  generation, _, sizes = name.partition(":")
  if generation not in CHIPS:
    known = [*CHIPS, *(other.partition(":")[0] for other in others)]
    raise errors.InputError(
      f"--topology={name}: {generation!r} is none of {', '.join(known)}."
      f"{errors.nearest(generation, known)} Write "
      f"{' or '.join(['v5e:4x4', *others])}."
    )
  shapes = CHIPS[generation].shapes
  if re.fullmatch(r"[1-9]\d{0,5}(x[1-9]\d{0,5})*", sizes):
    shape = tuple(map(int, sizes.split("x")))
    if shape in shapes:
      return Slice(generation, shape)
    near = _nearest(shape, shapes)
  else:
    near = shapes[:3]
  axes = len(shapes[0])
  raise errors.InputError(
    f"--topology={name}: there is no such slice; those of {generation} have {axes} "
    f"axes. Use {' or '.join(Slice(generation, s).name for s in near)}."
  )


def _nearest(shape, shapes) -> list[tuple[int, ...]]:
  """Returns two shapes: of nearly as many chips, and alike in form.

  The same sizes in another order, if there are such, alone.
  """
  sizes = sorted(n for n in shape if n > 1)
  same = [s for s in shapes if sorted(n for n in s if n > 1) == sizes]
  if same:
    return same[:1]
  chips = math.prod(shape)

  def distance(other):
    padded = itertools.zip_longest(
      sorted(shape, reverse=True), sorted(other, reverse=True), fillvalue=1
    )
    form = sum(abs(math.log(a / b)) for a, b in padded)
    return abs(math.log(chips / math.prod(other))), form

  return sorted(shapes, key=distance)[:2]
