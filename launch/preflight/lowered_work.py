"""Convolutions and products of a lowered program, by kind and with FLOPs."""

import dataclasses
import functools
import math

from soundstream_jax.launch.preflight import windows

# What a convolution can be, the first that holds names it.
KINDS = (
  "batch_grouped",
  "grouped",
  "dilated_kernel",
  "dilated_input",
  "strided",
  "ordinary",
)


@dataclasses.dataclass(frozen=True)
class Product:
  """A dot_general."""

  path: str  # in the source program, as in jit(step)/jvp(net)/dot_general
  rounds: int  # how often it runs
  left: tuple[int, ...]
  right: tuple[int, ...]
  result: tuple[int, ...]
  dtype: str  # of the left operand, as in bf16
  terms: int  # of the sum that makes one element of the result

  @property
  def flops(self) -> float:
    """Of one run."""
    return 2.0 * math.prod(self.result) * self.terms


@dataclasses.dataclass(frozen=True)
class Convolution:
  """A convolution; fields with an entry per spatial axis are in its order."""

  path: str
  rounds: int
  image: tuple[int, ...]  # shape of the first operand
  kernel: tuple[int, ...]
  result: tuple[int, ...]
  dtype: str
  labels: tuple[str, str, str]  # axes of the three, as in b0f, 0io and b0f
  stride: tuple[int, ...]
  pad: tuple[tuple[int, int], ...]
  lhs_dilate: tuple[int, ...]
  rhs_dilate: tuple[int, ...]
  groups: int
  batch_groups: int

  @functools.cached_property
  def kinds(self) -> frozenset[str]:
    """All of KINDS that hold; `ordinary` only alone."""
    holds = {
      "batch_grouped": self.batch_groups > 1,
      "grouped": self.groups > 1,
      "dilated_kernel": max(self.rhs_dilate, default=1) > 1,
      "dilated_input": max(self.lhs_dilate, default=1) > 1,
      "strided": max(self.stride, default=1) > 1,
    }
    return frozenset(k for k, v in holds.items() if v) or frozenset(
      ["ordinary"]
    )

  @property
  def kind(self) -> str:
    return next(kind for kind in KINDS if kind in self.kinds)

  @property
  def is_weight_gradient(self) -> bool:
    """Whether it sums over examples: its batch is the features of a forward."""
    return self.labels[0].index("f") < self.labels[0].index("b")

  @property
  def is_input_gradient(self) -> bool:
    """Whether its kernel is turned round: outputs before inputs.

    Of networks whose layers have channels last and kernels [taps, in, out].
    """
    kernel = self.labels[1]
    return not self.is_weight_gradient and kernel.index("o") < kernel.index("i")

  @property
  def taps(self) -> tuple[int, ...]:
    """Of the kernel, along each spatial axis, without the zeros of dilation."""
    labels = self.labels[1]
    return tuple(self.kernel[labels.index(d)] for d in spatial(labels))

  @property
  def _has_short_cotangent(self) -> bool:
    """Of a strided layer's weight gradient: no longer than the layer's kernel.

    Seen with jax 0.10.2: 41 taps and 41 outputs are filled, 48 are not.
    """
    out = self.labels[2]
    return any(
      spread > 1 and length <= self.result[out.index(d)]
      for d, length, spread in zip(
        spatial(out), self.taps, self.rhs_dilate, strict=True
      )
    )

  @functools.cached_property
  def flops(self) -> float:
    """Useful ones of one run: 2 for each product of two elements.

    Padding and the zeros of dilation are left out; zeros that the program
    itself puts into a kernel, such as those between merged groups, are not.
    """
    image, kernel, out = self.labels
    pairs = math.prod(
      windows.valid_pairs(
        self.image[image.index(d)],
        self.kernel[kernel.index(d)],
        self.result[out.index(d)],
        stride=self.stride[axis],
        low=self.pad[axis][0],
        stretch=self.lhs_dilate[axis],
        spread=self.rhs_dilate[axis],
      )
      for axis, d in enumerate(spatial(image))
    )
    inputs = self.kernel[kernel.index("i")]
    features = self.result[out.index("f")]
    batch = self.image[image.index("b")] // self.batch_groups
    return 2.0 * pairs * inputs * features * batch

  @property
  def gpu_fault(self) -> str:
    """What XLA does badly with it on a GPU; empty if nothing is known.

    XLA's cuDNN calls know no dilated kernel: it is filled with zeros. Only that
    of the weight gradient, and only the dilated input of the input gradient, of
    a strided layer are recognised as what they are (BackwardFilter and
    BackwardInput), the former only where the cotangent is longer than the
    kernel. The weight gradient of a dilated layer is itself strided, and
    becomes a call whose kernel is the whole clip. Groups are slow.
    """
    kinds = self.kinds
    if kinds & {"grouped", "batch_grouped"}:
      return "grouped: no tensor core is filled"
    if self.is_weight_gradient:
      if kinds & {"strided", "dilated_input"}:
        return "a weight gradient whose kernel is the whole clip"
      if self._has_short_cotangent:
        return "a short cotangent that is filled with zeros"
      return ""
    if "dilated_kernel" in kinds:
      return "a kernel that is filled with zeros"
    if "dilated_input" in kinds and not self.is_input_gradient:
      return "an input that is stuffed with zeros"
    return ""


@dataclasses.dataclass(frozen=True)
class Work:
  """What a lowered program computes, in the order of its text."""

  convolutions: tuple[Convolution, ...]
  products: tuple[Product, ...]

  @property
  def flops(self) -> float:
    """Useful ones of all convolutions and products, as often as they run."""
    return sum(
      one.flops * one.rounds for one in self.convolutions + self.products
    )

  def by_kind(self) -> dict[str, dict[str, float]]:
    """Kind to how many there are, and their FLOPs as often as they run."""
    table = {kind: {"convolutions": 0, "flops": 0.0} for kind in KINDS[::-1]}
    for one in self.convolutions:
      table[one.kind]["convolutions"] += 1
      table[one.kind]["flops"] += one.flops * one.rounds
    return table

  def gpu_faults(self) -> list[str]:
    """One line for each convolution that XLA does badly on a GPU."""
    return [
      f"{one.path}: {one.gpu_fault}"
      for one in self.convolutions
      if one.gpu_fault
    ]


def spatial(labels: str) -> list[str]:
  """The spatial axes of labels, 0 first."""
  return sorted(d for d in labels if d.isdigit())
