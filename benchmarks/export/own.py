"""Our own codec as a runtime, its streams kept, one for each length of block."""

import functools
import pathlib
from collections.abc import Sequence

import jax
import numpy as np

from soundstream_jax.codec import codec as codec_lib
from soundstream_jax.codec import streaming
from soundstream_jax.export import format as format_lib


class Own:
  """A `format.Runtime` of `codec.Codec`: what the others are measured by.

  A stream of blocks of one length runs the program of that length, and any
  other goes frame by frame.
  """

  name = "jax"
  version = jax.__version__
  lossy = False
  blocks: tuple[int, ...] | None = ()

  def __init__(self, codec: codec_lib.Codec):
    self.codec = codec
    self.switches = codec.film != "none"
    self._streams = functools.cache(
      lambda make, frames: make(codec, block_frames=frames)
    )

  def encode(self, audio, *, num_quantizers, denoise=False):
    denoise = denoise and self.codec.film == "encoder"
    return self.codec.encode(audio, denoise=denoise)[..., :num_quantizers]

  def decode(self, codes, *, denoise=False):
    denoise = denoise and self.codec.film == "decoder"
    return self.codec.decode(codes, denoise=denoise)

  def encode_stream(self, audio, blocks, *, num_quantizers, denoise=False):
    if denoise:
      return self.encode(audio, num_quantizers=num_quantizers, denoise=True)
    stream = self._streams(streaming.StreamEncoder, _length(blocks))
    ends = np.cumsum(blocks)[:-1] * self.codec.hop_samples
    codes = []
    for clip in audio:
      stream.reset()
      pieces = [stream.push(piece) for piece in np.split(clip, ends)]
      codes.append(np.concatenate(pieces))
    return np.stack(codes)[..., :num_quantizers]

  def decode_stream(self, codes, layers, blocks, *, denoise=False):
    if denoise:
      return self.codec.decode(codes, layers=layers, denoise=True)
    stream = self._streams(streaming.StreamDecoder, _length(blocks))
    ends = np.cumsum(blocks)[:-1]
    audio = []
    for clip, arrived in zip(codes, layers, strict=True):
      stream.reset()
      pieces = [
        stream.push(piece, layers=count)
        for piece, count in zip(
          np.split(clip, ends), np.split(arrived, ends), strict=True
        )
      ]
      audio.append(np.concatenate(pieces))
    return np.stack(audio)


def open_folder(folder: pathlib.Path) -> Sequence[format_lib.Runtime]:
  """Opens an exported model."""
  return [Own(codec_lib.Codec.load(folder))]


def _length(blocks: Sequence[int]) -> int:
  return blocks[0] if len(set(blocks)) == 1 else 1
