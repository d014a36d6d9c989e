"""Random models of every option, sounds and losses to try them with."""

import numpy as np

from soundstream_jax.codec import codec as codec_lib
from soundstream_jax.export import format as format_lib
from soundstream_jax.model import soundstream
from tests.codec import random_codec

# Each changes what a model computes.
MODELS = {
  "paper": {},
  "film in the encoder": {"model.film": "encoder"},
  "film in the decoder": {"model.film": "decoder"},
  "snake": {"model.activation": "snake", "model.strides": (5, 2)},
  "mel": {"model.encoder": "mel"},
  "mel of more hops": {"model.encoder": "mel", "audio.sample_rate_hz": 1600},
  "low_dim": {"quantizer.kind": "low_dim", "quantizer.code_dim": 2},
  "fsq": {"quantizer.kind": "fsq"},
  "fsq of an odd bit": {"quantizer.kind": "fsq", "quantizer.codebook_size": 32},
  "four stages, wide units": {
    "model.strides": (2, 4, 5, 1),
    "model.residual_hidden_ratio": 1.0,
    "model.residual_kernel": 3,
  },
  "other widths": {"model.decoder_channels": 6, "model.embedding_dim": 5},
  "another rate": {"audio.sample_rate_hz": 22_050, "model.strides": (4, 10)},
}
FRAMES = 60


def sound(codec, clips=2, frames=FRAMES):
  """Returns audio float32 [B, F * hop]."""
  random = np.random.default_rng(1)
  shape = (clips, frames * codec.hop_samples)
  return (0.1 * random.normal(size=shape)).astype(np.float32)


def blocks(frames=FRAMES):
  """Returns lengths of random blocks that make so many frames."""
  random, found = np.random.default_rng(2), []
  while sum(found) < frames:
    found.append(int(min(random.integers(1, 12), frames - sum(found))))
  return found


def losses(codec, clips=2, frames=FRAMES):
  """Returns layers int32 [B, F]: mixed, long gaps, and one at the start."""
  random = np.random.default_rng(3)
  layers = random.integers(0, codec.num_quantizers + 1, size=(clips, frames))
  layers[:, frames // 2 :] = np.maximum(layers[:, frames // 2 :], 1)
  layers[:, 20:36] = 0
  layers[1, :3] = 0
  return layers.astype(np.int32)


def lively(config):
  """Returns a random Codec whose codebooks lie where its latents do.

  So its codes are many: those of `random_codec` may be few.
  """
  made, params, vectors = random_codec.random_codec(config)
  residual = soundstream.from_config(config).apply(
    soundstream.variables(params, vectors),
    sound(made).astype(np.float32)[..., None],
    method="encode",
  )
  residual = np.asarray(residual).reshape(-1, config.model.embedding_dim)
  random, drawn = np.random.default_rng(4), []
  for book in vectors:
    book = residual.mean(axis=0) + residual.std(axis=0) * random.normal(
      size=book.shape
    )
    apart = np.square(residual[:, None] - book).sum(axis=-1)
    residual = residual - book[np.argmin(apart, axis=1)]
    drawn.append(book.astype(np.float32))
  return codec_lib.Codec(config, params, np.stack(drawn), step=5, weights="ema")


def opened(written, config, folder, *, denoise=False):
  """Returns (Codec, Runtime) of a random model that was written to a folder."""
  codec, *_ = random_codec.random_codec(config)
  files = written.files(
    codec.as_exported(), format_lib.Options(denoise=denoise)
  )
  for name, data in files.items():
    (folder / name).write_bytes(data)
  ((_, opening),) = written.runtimes.items()
  (runtime,) = opening(folder)
  return codec, runtime


def assert_sounds_alike(found, expected):
  """Audio agrees to 1e-5 of full scale, or of its own peak where louder."""
  assert found.dtype == expected.dtype == np.float32
  bound = 1e-5 * max(1.0, float(np.abs(expected).max()))
  np.testing.assert_allclose(found, expected, rtol=0, atol=bound)
