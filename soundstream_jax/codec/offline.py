"""Clips through a codec, one at a time, so that none depends on another."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from soundstream_jax import errors
from soundstream_jax.codec.stream import encoder as encoder_lib

# Of what is encoded or decoded at once: 0.85 s at the paper's rates. Longer
# blocks are no faster on a CPU, and a short clip is filled up to one.
BLOCK_FRAMES = 64
_SHAPES = {1: "one channel, [N]", 2: "codes [F, q]"}


def each(
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


def encode(
  codec, audio: np.ndarray, *, layers: int, denoise: bool
) -> np.ndarray:
  """Audio [N] -> int32 codes [F, layers].

  Raises:
    InputError: values that are not finite.
  """
  finite = np.isfinite(audio)
  if not finite.all():
    index = int(np.argmin(finite))
    raise errors.InputError(
      f"audio has {audio[index]} at sample {index}; it must be finite."
    )
  encoder = encoder_lib.StreamEncoder(
    codec, block_frames=BLOCK_FRAMES, denoise=denoise
  )
  codes = [encoder.push(audio), encoder.flush()[0]]
  return np.concatenate(codes)[:, :layers]


def decode(
  codec, codes: np.ndarray, layers: np.ndarray, *, denoise: bool
) -> np.ndarray:
  """Codes [F, q], of each frame the first layers [F] -> audio [F * hop].

  Raises:
    InputError: more layers than the model has, or codes that it does not.
  """
  q = codes.shape[1]
  if not 1 <= q <= codec.num_quantizers:
    raise errors.InputError(
      f"codes have shape {codes.shape}; the model takes [F, q] with q from 1 "
      f"to {codec.num_quantizers}."
    )
  if layers.size and layers.max() > q:
    raise errors.InputError(
      f"layers up to {layers.max()} are more than the {q} of the codes."
    )
  # One program decodes every bitrate: layers that are not there add nothing.
  filled = np.zeros((len(codes), codec.num_quantizers), codes.dtype)
  filled[:, :q] = codes
  decoder = encoder_lib.StreamDecoder(
    codec, block_frames=BLOCK_FRAMES, denoise=denoise
  )
  audio = [decoder.push(filled, layers=layers), decoder.flush()[0]]
  return np.concatenate(audio)
