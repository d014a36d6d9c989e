"""FLOPs of products in a compiled program: dots, convolutions, library calls.

Two for each multiply-add. Of a `convolution` of XLA padding and the zeros of
dilation are left out, as XLA's own count does. Of a call of cuDNN everything
that the call is given counts, padding too: it knows nothing of zeros.
"""

import math
import re

from soundstream_jax.launch.preflight import hlo_text, windows

CUDNN = "__cudnn$conv"
CUBLAS = "__cublas$"
LIBRARIES = (CUDNN, CUBLAS)


def target(instruction: hlo_text.Instruction) -> str:
  """Of a custom call, as in __cudnn$convForward; else empty."""
  return instruction.attribute(r'custom_call_target="([^"]*)"') or ""


def flops(
  scope: hlo_text.Computation, instruction: hlo_text.Instruction
) -> float | None:
  """Returns what one run computes; None if it is no product.

  Raises:
    hlo_text.NotUnderstood: a call of cuDNN or cuBLAS has an unknown form.
  """
  if instruction.opcode == "dot":
    return 2.0 * _size(instruction) * _terms(scope, instruction)
  if instruction.opcode == "convolution":
    return _convolution(scope, instruction)
  if instruction.opcode != "custom-call":
    return None
  called = target(instruction)
  if called.startswith(CUDNN):
    return _cudnn(scope, instruction, called)
  if called.startswith(CUBLAS):
    summed = re.search(
      r'"lhs_contracting_dimensions":\[([^\]]*)\]', instruction.attributes
    )
    if not summed:
      raise hlo_text.NotUnderstood(f"the call {instruction.name} of {called}")
    left = _operands(scope, instruction)[0].arrays[0].dims
    terms = math.prod(left[int(d)] for d in re.findall(r"\d+", summed[1]))
    return 2.0 * instruction.arrays[0].size * terms
  return None


def labels(instruction: hlo_text.Instruction) -> tuple[str, str, str]:
  """Axes of image, kernel and result, as in b0f, 0io and b0f."""
  found = re.search(
    r"dim_labels=([0-9a-z?]+)_([0-9a-z?]+)->([0-9a-z?]+)",
    instruction.attributes,
  )
  if not found:
    raise hlo_text.NotUnderstood(f"the convolution {instruction.name}")
  return found.groups()


def groups(instruction: hlo_text.Instruction) -> int:
  return int(instruction.attribute(r"\bfeature_group_count=(\d+)") or 1)


def window(
  instruction: hlo_text.Instruction, name: str = "size"
) -> tuple[int, ...]:
  """A field of the window, an entry per axis; empty if it is not written."""
  found = instruction.attribute(rf"\b{name}=([0-9x]+)")
  return tuple(map(int, found.split("x"))) if found else ()


def roles(
  scope: hlo_text.Computation, instruction: hlo_text.Instruction
) -> tuple[hlo_text.Array, hlo_text.Array, hlo_text.Array]:
  """Returns x, kernel and y of the layer that a call of cuDNN belongs to.

  Each is an operand or the result: the gradients carry the labels of the
  forward convolution.
  """
  first, second = _operands(scope, instruction)[:2]
  first, second, result = (i.arrays[0] for i in (first, second, instruction))
  called = target(instruction).removeprefix(CUDNN)
  if called == "BackwardInput":
    return result, second, first
  if called == "BackwardFilter":
    return first, result, second
  if called.endswith("Forward"):
    return first, second, result
  raise hlo_text.NotUnderstood(f"the call {CUDNN}{called}")


def _cudnn(scope, instruction, called) -> float:
  _, kernel, y = roles(scope, instruction)
  inputs = kernel.dims[labels(instruction)[1].index("i")]
  return 2.0 * y.size * math.prod(window(instruction)) * inputs


def _operands(scope, instruction) -> list[hlo_text.Instruction]:
  return [scope.instructions[name] for name in instruction.operands]


def _size(instruction) -> int:
  return max((array.size for array in instruction.arrays), default=0)


def _terms(scope, instruction) -> int:
  left = _operands(scope, instruction)[0].arrays[0].dims
  summed = instruction.attribute(r"lhs_contracting_dims=\{([0-9,]*)\}") or ""
  return math.prod(left[int(d)] for d in summed.split(",") if d)


def _convolution(scope, instruction) -> float:
  image, kernel, out = labels(instruction)
  left, right = (
    operand.arrays[0].dims for operand in _operands(scope, instruction)[:2]
  )
  result = instruction.arrays[0].dims
  batch_groups = int(instruction.attribute(r"batch_group_count=(\d+)") or 1)

  def field(name: str, axis: int, default: str) -> str:
    values = instruction.attribute(rf"\b{name}=([0-9x_-]+)")
    return values.split("x")[axis] if values else default

  positions = 1
  for digit in (d for d in image if d.isdigit()):
    axis = [d for d in out if d.isdigit()].index(digit)
    positions *= windows.valid_pairs(
      left[image.index(digit)],
      right[kernel.index(digit)],
      result[out.index(digit)],
      stride=int(field("stride", axis, "1")),
      low=int(field("pad", axis, "0_0").split("_")[0]),
      stretch=int(field("lhs_dilate", axis, "1")),
      spread=int(field("rhs_dilate", axis, "1")),
    )
  return (
    2.0
    * positions
    * right[kernel.index("i")]
    * result[out.index("f")]
    * (left[image.index("b")] // batch_groups)
  )
