"""The runtime `torch`: the model.py of a folder, on one thread."""

import contextlib
import pathlib
import types
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from soundstream_jax import errors
from soundstream_jax.export import format as format_lib

# model.py, as it is written.
SOURCE = pathlib.Path(__file__).with_name("model.py.txt")


def open_folder(folder: pathlib.Path) -> Sequence[format_lib.Runtime]:
  """Returns the folder's one runtime.

  A folder may come from anybody, and to check it must not run what it brings:
  model.py runs where it is the very one that we write, and from here.

  Raises:
    InputError: it is another one.
  """
  if (folder / "model.py").read_bytes() != SOURCE.read_bytes():
    raise errors.InputError(
      f"{folder / 'model.py'} is not the one that this version writes, so it is "
      "not run. Check it with the version that export.json names, or export "
      "the model again."
    )
  return (Torch(folder),)


class Torch:
  """A `format.Runtime`."""

  name = "torch"
  lossy = False
  blocks: tuple[int, ...] | None = ()
  switches = True

  def __init__(self, folder: pathlib.Path):
    import torch

    self.version = torch.__version__
    self._codec = _module().load(folder)

  def encode(
    self, audio: np.ndarray, *, num_quantizers: int, denoise: bool = False
  ) -> np.ndarray:
    with one_thread() as torch:
      found = self._codec.encode(torch.tensor(audio), num_quantizers, denoise)
    return found.numpy().astype(np.int32)

  def decode(self, codes: np.ndarray, *, denoise: bool = False) -> np.ndarray:
    with one_thread() as torch:
      found = self._codec.decode(torch.tensor(codes).long(), denoise)
    return found.numpy()

  def encode_stream(
    self,
    audio: np.ndarray,
    blocks: Sequence[int],
    *,
    num_quantizers: int,
    denoise: bool = False,
  ) -> np.ndarray:
    state, found = self._codec.new_state("encoder", len(audio)), []
    ends = np.cumsum(blocks)[:-1] * self._codec.hop
    with one_thread() as torch:
      for block in np.split(audio, ends, axis=1):
        state, codes = self._codec.encode_step(
          state, torch.tensor(block), num_quantizers, denoise
        )
        found.append(codes.numpy().astype(np.int32))
    return np.concatenate(found, axis=1)

  def decode_stream(
    self,
    codes: np.ndarray,
    layers: np.ndarray,
    blocks: Sequence[int],
    *,
    denoise: bool = False,
  ) -> np.ndarray:
    state, found = self._codec.new_state("decoder", len(codes)), []
    ends = np.cumsum(blocks)[:-1]
    pieces = (np.split(array, ends, axis=1) for array in (codes, layers))
    with one_thread() as torch:
      for block, arrived in zip(*pieces, strict=True):
        state, audio = self._codec.decode_step(
          state,
          torch.tensor(block).long(),
          torch.tensor(arrived),
          denoise,
        )
        found.append(audio.numpy())
    return np.concatenate(found, axis=1)


@contextlib.contextmanager
def one_thread() -> Iterator[Any]:
  """Gives PyTorch, which computes on one thread meanwhile, without gradients."""
  import torch

  before = torch.get_num_threads()
  torch.set_num_threads(1)
  try:
    with torch.inference_mode():
      yield torch
  finally:
    torch.set_num_threads(before)


def _module() -> Any:
  """Returns our model.py as a module, under no name that another could have."""
  module = types.ModuleType("soundstream_model")
  exec(compile(SOURCE.read_text(), str(SOURCE), "exec"), module.__dict__)
  return module
