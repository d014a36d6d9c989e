"""How many neighbouring samples stay together on their way through a network.

A method may fold neighbours into channels (see `folding`), as many as the
strides to come keep whole: the granule. A stride of s makes one of s neighbours,
a transposed one s of one, so the granule of every layer follows from that at
entry. The generator enters with a hop, or with a frame: 1. What differs from the
rule is listed here, and nowhere else.
"""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Bounds:
  """Attributes:
  most: neighbours that stay together at entry; None is the whole axis.
  multiple: of which the axis' length must be one, else none stay together.
  widest: channels of the second layer beyond which none do.
  """

  most: int | None = None
  multiple: int = 1
  widest: int | None = None


BOUNDS = {
  # All frequencies, where the six halvings leave a whole number of them.
  "stft": Bounds(multiple=64),
  # Two stages of stride 4 are folded, by 8 and by 2. Zeros at the end of audio of
  # another length would be samples to the stages after; and beyond this width
  # the groups of the second stage do not merge into one.
  "wave": Bounds(most=8, multiple=16, widest=64),
}


def of(network: str, length: int, *, width: int = 0) -> int:
  """Returns the granule with which a network of BOUNDS is entered.

  Args:
    length: of the last space axis.
    width: channels of the second layer.
  """
  bounds = BOUNDS[network]
  if length % bounds.multiple:
    return 1
  if bounds.widest is not None and width > bounds.widest:
    return 1
  return bounds.most or length
