"""The runtime `transformers`: EncodecModel, on one thread."""

import contextlib
import pathlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from soundstream_jax.export import format as format_lib
from soundstream_jax.export.torch import runtime as torch_runtime


def open_folder(folder: pathlib.Path) -> Sequence[format_lib.Runtime]:
  """Returns the folder's one runtime."""
  return (EnCodec(folder),)


class EnCodec:
  """A `format.Runtime`."""

  name = "transformers"
  lossy = False
  blocks: tuple[int, ...] | None = None
  switches = False

  def __init__(self, folder: pathlib.Path):
    import transformers

    self.version = transformers.__version__
    with _quiet(transformers.utils.logging):
      self._model = transformers.EncodecModel.from_pretrained(
        folder, local_files_only=True
      ).eval()

  def encode(
    self, audio: np.ndarray, *, num_quantizers: int, denoise: bool = False
  ) -> np.ndarray:
    bandwidth = self._model.config.target_bandwidths[num_quantizers - 1]
    with torch_runtime.one_thread() as torch:
      found = self._model.encode(
        torch.tensor(audio)[:, None], bandwidth=bandwidth
      )
    # [1, B, q, F]
    return found.audio_codes[0].numpy().transpose(0, 2, 1).astype(np.int32)

  def decode(self, codes: np.ndarray, *, denoise: bool = False) -> np.ndarray:
    codes = np.ascontiguousarray(codes.transpose(0, 2, 1)[None])
    with torch_runtime.one_thread() as torch:
      found = self._model.decode(torch.tensor(codes).long(), [None])
    return found.audio_values[:, 0].numpy()


@contextlib.contextmanager
def _quiet(logging: Any) -> Iterator[None]:
  """Keeps a progress bar of milliseconds off stderr."""
  shown = logging.is_progress_bar_enabled()
  logging.disable_progress_bar()
  try:
    yield
  finally:
    if shown:
      logging.enable_progress_bar()
