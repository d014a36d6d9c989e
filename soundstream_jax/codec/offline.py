"""Encodes and decodes clips, one at a time: none depends on another.

A clip is there whole, or comes piece by piece; its codes are the same.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from soundstream_jax import errors
from soundstream_jax.codec import trained_model
from soundstream_jax.codec.stream import decoder as decoder_lib
from soundstream_jax.codec.stream import encoder as encoder_lib

# Frames that are encoded or decoded at once: 0.85 s at the paper's rates.
# Longer blocks are no faster on a CPU, and a short clip is filled up to one.
BLOCK_FRAMES = 64
_SHAPES = {1: "one channel, [N]", 2: "codes [F, q]"}


def encode(
  model: trained_model.TrainedModel,
  audio: Any,
  *,
  bitrate_bps: float | None = None,
  denoise: bool = False,
) -> np.ndarray | list[np.ndarray]:
  """Encodes a clip, each of a batch, or each of a list.

  Args:
    model: that encodes.
    audio: numpy or jax [N] at the model's rate, [B, N], or a list of [N].
    bitrate_bps: one of the model's; None is the highest.
    denoise: takes noise away from speech.

  Returns:
    int32 codes [F, q], F = ceil(N / hop_samples); [B, F, q], or a list.

  Raises:
    InputError: another shape, a value that is not finite, a bitrate that the
      model does not have, or denoising where it cannot do it.
  """
  model.check_denoise(denoise, "encoder")
  model.layers_for(bitrate_bps)  # also where there is no clip

  def encode_clip(clip):
    clip = clip.astype(np.float32)
    return _encode_clip(model, clip, bitrate_bps=bitrate_bps, denoise=denoise)

  return _each(audio, 1, encode_clip)


def decode(
  model: trained_model.TrainedModel,
  codes: Any,
  *,
  layers: Any = None,
  denoise: bool = False,
) -> np.ndarray | list[np.ndarray]:
  """Decodes the codes of a clip, each of a batch, or each of a list.

  Args:
    model: that decodes.
    codes: of `encode`: [F, q], [B, F, q], or a list of [F, q].
    layers: int [F], [B, F], or a list: how many of a frame's first layers
      arrived; 0 is a lost frame, which is concealed. None is all.
    denoise: takes noise away from speech.

  Returns:
    float32 [F * hop_samples] at the model's rate, a batch, or a list.

  Raises:
    InputError: another shape, codes that the model does not have, or denoising
      where it cannot do it.
  """
  model.check_denoise(denoise, "decoder")

  def decode_clip(clip, arrived):
    if arrived is None:
      arrived = np.full(len(clip), clip.shape[1])
    return _decode_clip(model, clip, np.asarray(arrived), denoise=denoise)

  return _each(codes, 2, decode_clip, layers)


def _each(
  clips: Any, axes: int, function: Callable[..., np.ndarray], *others: Any
) -> np.ndarray | list[np.ndarray]:
  """Applies a function to one clip, to each of an array, or of a list.

  Args:
    clips: an array with `axes` axes, one with a batch before them, or a
      sequence of the former.
    others: the function's other arguments, one per clip, or None.
  """
  if isinstance(clips, Sequence):
    clips = [np.asarray(clip) for clip in clips]
    bad = [clip.shape for clip in clips if clip.ndim != axes]
  else:
    clips = np.asarray(clips)
    bad = [] if clips.ndim in (axes, axes + 1) else [clips.shape]
  shape = getattr(clips, "shape", ())
  if axes == 1 and len(shape) == 2 and shape[1] == 1 < shape[0]:
    bad = [shape]  # [N, 1] is meant, not N clips of a sample
  if bad:
    raise errors.InputError(
      f"a clip has shape {bad[0]}; the codec takes {_SHAPES[axes]}, a batch of "
      "them, or a list."
    )
  if getattr(clips, "ndim", None) == axes:
    return function(clips, *others)
  others = [[None] * len(clips) if o is None else o for o in others]
  results = [function(*all_) for all_ in zip(clips, *others, strict=True)]
  if isinstance(clips, list) or not results:
    return results
  return np.stack(results)


class ClipEncoder:
  """Encodes the channels of one clip as its sound comes, each by itself.

  Codes are those of `encode` of each channel, however the sound comes.
  """

  def __init__(
    self,
    model: trained_model.TrainedModel,
    *,
    channels: int,
    bitrate_bps: float | None = None,
    denoise: bool = False,
  ):
    """Begins a clip.

    Args:
      model: that encodes.
      channels: C.
      bitrate_bps: one of the model's; None is the highest.
      denoise: takes noise away from speech.

    Raises:
      InputError: a bitrate that the model does not have, or denoising where it
        cannot do it.
    """
    self.num_quantizers = model.layers_for(bitrate_bps)
    # One program encodes every bitrate, and every number of channels.
    self._encoders = [
      encoder_lib.StreamEncoder(
        model, block_frames=BLOCK_FRAMES, denoise=denoise
      )
      for _ in range(channels)
    ]

  def push(self, audio: np.ndarray) -> np.ndarray:
    """Takes float32 [C, N], any N; gives int32 codes [C, F, q], any F.

    Raises:
      InputError: values that are not finite.
    """
    each = zip(self._encoders, audio, strict=True)
    return self._cut([encoder.push(channel) for encoder, channel in each])

  def flush(self) -> np.ndarray:
    """Ends the clip: the codes [C, F, q] of what is left."""
    return self._cut([encoder.flush()[0] for encoder in self._encoders])

  def _cut(self, codes: list[np.ndarray]) -> np.ndarray:
    return np.stack(codes)[..., : self.num_quantizers]


class ClipDecoder:
  """Decodes the channels of one clip as its codes come, each by itself.

  Audio is that of `decode` of each channel, however the codes come.
  """

  def __init__(
    self,
    model: trained_model.TrainedModel,
    *,
    channels: int,
    denoise: bool = False,
  ):
    """Begins a clip; arguments and errors of ClipEncoder."""
    self._most = model.rates.num_quantizers
    self._decoders = [
      decoder_lib.StreamDecoder(
        model, block_frames=BLOCK_FRAMES, denoise=denoise
      )
      for _ in range(channels)
    ]

  def push(self, codes: np.ndarray, layers: np.ndarray) -> np.ndarray:
    """Takes codes [C, F, q], of which the first layers [C, F] arrived.

    Returns:
      float32 [C, N], any N.

    Raises:
      InputError: layers or codes that the model does not have.
    """
    # One program decodes every bitrate: layers that are not there add nothing.
    filled = np.zeros((*codes.shape[:2], self._most), codes.dtype)
    filled[..., : codes.shape[2]] = codes
    each = zip(self._decoders, filled, layers, strict=True)
    return np.stack([d.push(c, layers=arrived) for d, c, arrived in each])

  def flush(self) -> np.ndarray:
    """Ends the clip: the audio [C, N] of the frames that are left."""
    return np.stack([decoder.flush()[0] for decoder in self._decoders])


def _encode_clip(
  model: trained_model.TrainedModel,
  audio: np.ndarray,
  *,
  bitrate_bps: float | None,
  denoise: bool,
) -> np.ndarray:
  """Encodes audio [N] into int32 codes [F, q]."""
  finite = np.isfinite(audio)
  if not finite.all():
    index = int(np.argmin(finite))
    raise errors.InputError(
      f"audio has {audio[index]} at sample {index}; it must be finite."
    )
  encoder = ClipEncoder(
    model, channels=1, bitrate_bps=bitrate_bps, denoise=denoise
  )
  codes = [encoder.push(audio[None]), encoder.flush()]
  return np.concatenate(codes, axis=1)[0]


def _decode_clip(
  model: trained_model.TrainedModel,
  codes: np.ndarray,
  layers: np.ndarray,
  *,
  denoise: bool,
) -> np.ndarray:
  """Decodes codes [F, q], of each frame the first layers [F]: [F * hop]."""
  q, most = codes.shape[1], model.rates.num_quantizers
  if not 1 <= q <= most:
    raise errors.InputError(
      f"codes have shape {codes.shape}; the model takes [F, q] with q from 1 "
      f"to {most}."
    )
  if layers.size and layers.max() > q:
    raise errors.InputError(
      f"layers up to {layers.max()} are more than the {q} of the codes."
    )
  decoder = ClipDecoder(model, channels=1, denoise=denoise)
  audio = [decoder.push(codes[None], layers[None]), decoder.flush()]
  return np.concatenate(audio, axis=1)[0]
