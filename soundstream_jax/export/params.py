"""The format `params`: safetensors and JSON, which `soundstream_jax.load` opens."""

import pathlib
from collections.abc import Mapping, Sequence

import numpy as np

import soundstream_jax
from soundstream_jax import config as config_lib
from soundstream_jax.checkpoint import array_file, exported
from soundstream_jax.codec import codec as codec_lib
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


def _refusal(
  config: config_lib.Config, options: format_lib.Options
) -> str | None:
  del config, options
  return None


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
  """Our own codec, as `soundstream_jax.load` opens it."""

  name = "soundstream_jax"
  version = soundstream_jax.__version__
  lossy = False
  blocks: tuple[int, ...] | None = ()

  def __init__(self, codec: codec_lib.Codec):
    self._codec = codec
    self.switches = codec.film != "none"

  def encode(self, audio, *, num_quantizers, denoise=False):
    denoise = denoise and self._codec.film == "encoder"
    codes = self._codec.encode(audio, denoise=denoise)
    return codes[..., :num_quantizers]

  def decode(self, codes, *, denoise=False):
    return self._codec.decode(
      codes, denoise=denoise and self._codec.film == "decoder"
    )

  def encode_stream(self, audio, blocks, *, num_quantizers, denoise=False):
    from soundstream_jax.codec.stream import encoder

    return np.stack(
      [self._encoded(encoder, a, blocks, denoise) for a in audio]
    )[..., :num_quantizers]

  def _encoded(self, encoder, audio, blocks, denoise):
    stream = encoder.StreamEncoder(
      self._codec, denoise=denoise and self._codec.film == "encoder"
    )
    ends = np.cumsum(blocks)[:-1] * self._codec.hop_samples
    pieces = [stream.push(piece) for piece in np.split(audio, ends)]
    return np.concatenate([*pieces, stream.flush()[0]])

  def decode_stream(self, codes, layers, blocks, *, denoise=False):
    from soundstream_jax.codec.stream import decoder

    ends = np.cumsum(blocks)[:-1]
    results = []
    for one, arrived in zip(codes, layers, strict=True):
      stream = decoder.StreamDecoder(
        self._codec, denoise=denoise and self._codec.film == "decoder"
      )
      pieces = [
        stream.push(piece, layers=count)
        for piece, count in zip(
          np.split(one, ends), np.split(arrived, ends), strict=True
        )
      ]
      results.append(np.concatenate([*pieces, stream.flush()[0]]))
    return np.stack(results)


def _open(folder: pathlib.Path) -> Sequence[format_lib.Runtime]:
  return [Own(codec_lib.Codec.load(folder))]


FORMAT = format_lib.Format(
  about="safetensors and JSON: any reader of safetensors, and ourselves",
  packages=(),
  extra="",
  refusal=_refusal,
  files=_files,
  tensors=_tensors,
  runtimes={"soundstream_jax": _open},
  consumer=_CONSUMER,
  last=(exported.ARRAYS, exported.ABOUT),
)
