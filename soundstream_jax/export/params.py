"""The format `params`: safetensors and JSON, which `soundstream_jax.load` opens."""

import functools
import pathlib
from collections.abc import Mapping, Sequence

import numpy as np

import soundstream_jax
from soundstream_jax.checkpoint import array_file, exported
from soundstream_jax.codec import codec as codec_lib
from soundstream_jax.codec import streaming
from soundstream_jax.export import digests, tensors
from soundstream_jax.export import format as format_lib

_CONSUMER = """\
import numpy as np
from safetensors.numpy import load_file

arrays = load_file("model.safetensors")  # model.json says what each is
print(len(arrays), "arrays", arrays["codebooks/vectors"].shape)

import soundstream_jax

codec = soundstream_jax.load(".")
golden = np.load("golden.npz")
assert np.array_equal(codec.encode(golden["audio"]), golden["codes"])
"""


def _files(
  model: exported.Exported, options: format_lib.Options
) -> Mapping[str, bytes]:
  return exported.to_files(
    model,
    dtype=options.dtype,
    described={
      tensor.path: {
        "layout": tensor.layout,
        "role": tensor.role,
        "paper": tensor.paper,
        "torch": tensor.torch,
        "hugging_face": tensor.hugging_face,
      }
      for tensor in tensors.table(model.config)
    },
    notes=options.notes,
  )


def _tensors(folder: pathlib.Path) -> Mapping[str, Mapping[str, str]]:
  arrays, _ = array_file.load(folder / exported.ARRAYS)
  return {exported.ARRAYS: digests.of(arrays)}


class Own:
  """Our own codec, as `soundstream_jax.load` opens it: a `format.Streams`.

  Streams are kept. One of blocks of one length runs the program of that length,
  any other goes frame by frame.
  """

  name = "soundstream_jax"
  version = soundstream_jax.__version__
  lossy = False
  blocks: tuple[int, ...] | None = ()

  def __init__(self, codec: codec_lib.Codec):
    self.codec = codec
    self.switches = codec.film != "none"
    self._streams = functools.cache(
      lambda make, frames, denoise: make(
        codec, block_frames=frames, denoise=denoise
      )
    )

  def encode(self, audio, *, num_quantizers, denoise=False):
    denoise = denoise and self.codec.film == "encoder"
    return self.codec.encode(audio, denoise=denoise)[..., :num_quantizers]

  def decode(self, codes, *, denoise=False):
    denoise = denoise and self.codec.film == "decoder"
    return self.codec.decode(codes, denoise=denoise)

  def encode_stream(self, audio, blocks, *, num_quantizers, denoise=False):
    denoise = denoise and self.codec.film == "encoder"
    stream = self._streams(streaming.StreamEncoder, _length(blocks), denoise)
    ends = np.cumsum(blocks)[:-1] * self.codec.hop_samples
    codes = []
    for clip in audio:
      stream.reset()
      pieces = [stream.push(piece) for piece in np.split(clip, ends)]
      codes.append(np.concatenate(pieces))
    return np.stack(codes)[..., :num_quantizers]

  def decode_stream(self, codes, layers, blocks, *, denoise=False):
    denoise = denoise and self.codec.film == "decoder"
    stream = self._streams(streaming.StreamDecoder, _length(blocks), denoise)
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


def _length(blocks: Sequence[int]) -> int:
  return blocks[0] if len(set(blocks)) == 1 else 1


def _open(folder: pathlib.Path) -> Sequence[format_lib.Runtime]:
  return [Own(codec_lib.Codec.load(folder))]


FORMAT = format_lib.Format(
  about="safetensors and JSON: any reader of safetensors, and ourselves",
  packages=(),
  extra="",
  files=_files,
  tensors=_tensors,
  runtimes={"soundstream_jax": _open},
  consumer=_CONSUMER,
  last=(exported.ARRAYS, exported.ABOUT),
)
