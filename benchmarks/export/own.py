"""Our own codec as the runtime that the others are measured by: jax."""

import pathlib
from collections.abc import Sequence

import jax

from soundstream_jax.codec import codec as codec_lib
from soundstream_jax.export import format as format_lib
from soundstream_jax.export import params


class Own(params.Own):
  name = "jax"
  version = jax.__version__


def open_folder(folder: pathlib.Path) -> Sequence[format_lib.Runtime]:
  """Opens an exported model."""
  return [Own(codec_lib.Codec.load(folder))]
