"""A system under test: sound goes in, and comes back after its bits.

Systems are small frozen dataclasses that can be pickled: worker processes get
them as they are. They load no jax.
"""

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True)
class Coded:
  """A clip that went through a system."""

  audio: np.ndarray  # float32 [T], as long as the clip and aligned with it
  payload_bits: int | None = None  # that were stored or sent; None: no codec
  entropy_bits: int | None = None  # of them, where an entropy coder packs them


@dataclasses.dataclass(frozen=True)
class System:
  """One codec, or anchor, at one setting."""

  name: str  # 'opus'
  setting: str  # '6000'
  label: str  # 'Opus 6 kbit/s', for tables and pictures
  bitrate_bps: float | None  # nominal; None for what is no codec
  version: str  # of everything that decides the sound

  @property
  def key(self) -> str:
    """Of its results, 'opus@6000'."""
    return f"{self.name}@{self.setting}"

  def code(self, audio: np.ndarray, *, sample_rate_hz: int) -> Coded:
    """Encodes and decodes a clip.

    Args:
      audio: float32 [T] in [-1, 1], any T.
      sample_rate_hz: of it.

    Raises:
      InputError: it cannot be coded, in one line with the reason.
    """
    raise NotImplementedError
