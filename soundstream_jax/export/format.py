"""A format: what a model becomes for another runtime, and who opens that."""

import dataclasses
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import numpy as np

from soundstream_jax import config as config_lib
from soundstream_jax.checkpoint import exported


@dataclasses.dataclass(frozen=True)
class Options:
  """What a user chooses beside the format.

  Attributes:
    num_quantizers: first layers that are written; None is all.
    dtype: 'float32' or 'float16', of stored weights.
    denoise: how the switch stands in formats that cannot turn it.
    licence: of the weights, in the user's words.
    data: that they were trained on, likewise.
  """

  num_quantizers: int | None = None
  dtype: str = "float32"
  denoise: bool = False
  licence: str = ""
  data: str = ""

  @property
  def notes(self) -> dict[str, str]:
    """Licence and data, by the names that they have in files."""
    return {
      "licence": self.licence or "not stated: ask whoever trained the model",
      "data": self.data or "not stated",
    }


class Runtime(Protocol):
  """A written folder, opened by software that is not ours.

  B is any batch; audio is float32 in [-1, 1] at the model's rate, whole frames;
  codes are int32.

  Attributes:
    name: of the software and of what it opened, such as 'onnxruntime' or
      'litert int8'.
    version: of the software.
    lossy: whether its numbers are meant to differ (int8, float16).
    blocks: frames of a block that its streams take (see `Streams`); () is any,
      None says that it has no streams.
    switches: whether `denoise` can be chosen; else the switch stands as it was
      written.
  """

  name: str
  version: str
  lossy: bool
  blocks: tuple[int, ...] | None
  switches: bool

  def encode(
    self, audio: np.ndarray, *, num_quantizers: int, denoise: bool = False
  ) -> np.ndarray:
    """[B, F * hop] -> codes [B, F, q]."""

  def decode(self, codes: np.ndarray, *, denoise: bool = False) -> np.ndarray:
    """[B, F, q], any q -> audio [B, F * hop]."""


class Streams(Runtime, Protocol):
  """A runtime whose `blocks` are not None."""

  def encode_stream(
    self,
    audio: np.ndarray,
    blocks: Sequence[int],
    *,
    num_quantizers: int,
    denoise: bool = False,
  ) -> np.ndarray:
    """`encode`, block by block; blocks are frames, whose sum is F."""

  def decode_stream(
    self,
    codes: np.ndarray,
    layers: np.ndarray,
    blocks: Sequence[int],
    *,
    denoise: bool = False,
  ) -> np.ndarray:
    """`decode`, block by block, of a frame's first layers [B, F]; 0 is lost."""


def _any(config: config_lib.Config, options: Options) -> None:
  """Refuses no model."""
  del config, options


def _no_names(folder: pathlib.Path) -> Mapping[str, Mapping[str, str]]:
  """Names no tensor."""
  del folder
  return {}


@dataclasses.dataclass(frozen=True)
class Format:
  """One way to write a model.

  Attributes:
    about: what is written, in a line.
    packages: modules that writing takes beside the project's own.
    extra: of setup.py, which installs them; '' where there are none.
    files: path below the folder -> content.
    runtimes: module that opens the folder -> how.
    consumer: Python that opens the folder `.` and codes golden.npz, about ten
      lines, which the folder's README holds and a test runs.
    refusal: why a model cannot become it: names the option, its value and what
      would do; None if it can.
    tensors: folder -> file -> tensor -> SHA-256 of its values, in hex, of files
      whose tensors have names.
    fixed_switch: whether the switch for denoising stands as it was written.
    last: files that get their names when all others have, where a folder with
      them is taken for whole; () is export.json alone.
  """

  about: str
  packages: tuple[str, ...]
  extra: str
  files: Callable[[exported.Exported, Options], Mapping[str, bytes]]
  runtimes: Mapping[str, Callable[[pathlib.Path], Sequence[Runtime]]]
  consumer: str
  refusal: Callable[[config_lib.Config, Options], str | None] = _any
  tensors: Callable[[pathlib.Path], Mapping[str, Mapping[str, str]]] = _no_names
  fixed_switch: bool = False
  last: tuple[str, ...] = ()
