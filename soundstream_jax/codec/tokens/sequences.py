"""Encodes one item, block by block: a sequence of codes per channel.

Each channel goes through the one program of `codec.offline`, as it does in
`soundstream encode`, so its codes depend on nothing but its own audio.
"""

from collections.abc import Iterator

import numpy as np

from soundstream_jax import errors
from soundstream_jax.audio import resampling, waveform
from soundstream_jax.codec import offline, trained_model
from soundstream_jax.codec.stream import encoder as encoder_lib
from soundstream_jax.codec.tokens import inputs


def encode(
  model: trained_model.TrainedModel,
  sound: inputs.Sound,
  *,
  layers: int,
  mono: bool,
  denoise: bool,
) -> Iterator[tuple[int, list[np.ndarray]]]:
  """Encodes as much of a sound at a time as is read at a time.

  Args:
    layers: q, that are kept.
    mono: the mean of the channels, instead of each.
    denoise: takes noise away from speech.

  Yields:
    (samples of the sound, at its rate, that were read; a channel's next codes
    uint16 [F, q] each, F may be 0).

  Raises:
    InputError: the sound cannot be read, or is not finite.
  """
  channels = 1 if mono else sound.channels
  resampler = resampling.Resampler(
    sound.rate_hz, model.rates.sample_rate_hz, channels
  )
  encoders = [
    encoder_lib.StreamEncoder(
      model, block_frames=offline.BLOCK_FRAMES, denoise=denoise
    )
    for _ in range(channels)
  ]

  def push(audio: np.ndarray) -> list[np.ndarray]:
    if not np.isfinite(audio).all():
      raise errors.InputError(
        f"{sound.name}: its samples are too large to be resampled or mixed. "
        "Export the file again, for example as 16-bit wav."
      )
    return [
      _kept(encoder.push(channel), layers)
      for encoder, channel in zip(encoders, audio.T, strict=True)
    ]

  for block in sound.blocks():
    audio = waveform.to_mono(block)[:, None] if mono else block
    yield len(block), push(resampler.push(audio))
  yield 0, push(resampler.flush())
  yield 0, [_kept(encoder.flush()[0], layers) for encoder in encoders]


def _kept(codes: np.ndarray, layers: int) -> np.ndarray:
  return codes[:, :layers].astype("<u2")
