"""Audio of a recording that may have damage: what is there, and no more.

Codes that are missing are those of the last frame that had them. A frame with
fewer layers sounds as it does at that many: the file is decoded once for each
number of layers that occurs, and each frame is taken from its own. Lost frames
fade to silence in 80 ms, and what follows them starts at once.
"""

import numpy as np

FADE_S = 0.08


def decode(
  codec,
  codes: np.ndarray,
  layers: np.ndarray,
  *,
  denoise: bool = False,
) -> np.ndarray:
  """Decodes the codes of one channel.

  Args:
    codec: `codec.Codec`, the model that made the codes.
    codes: integers [F, q].
    layers: integers [F], how many first layers of a frame may be used; 0 is a
      lost frame.
    denoise: as of `Codec.decode`.

  Returns:
    float32 [F * hop_samples], equal to `codec.decode(codes)` where all layers
    may be used.

  Raises:
    InputError: as `Codec.decode`.
  """
  most = codes.shape[1]
  if (layers == most).all():
    return codec.decode(codes, denoise=denoise)
  filled, hop = fill(codes, layers), codec.hop_samples
  frames = np.arange(len(codes))
  last = np.maximum.accumulate(np.where(layers > 0, frames, 0))
  # A lost frame goes on with as many layers as the last one before it.
  heard = layers[last]
  audio = np.zeros((len(codes), hop), np.float32)
  for count in np.unique(heard[heard > 0]):
    decoded = codec.decode(filled[:, :count], denoise=denoise)
    audio[heard == count] = decoded.reshape(-1, hop)[heard == count]
  lost = layers == 0
  since = (frames - last - 1)[lost, None] * hop + np.arange(hop)
  fade = 1 - since / (FADE_S * codec.sample_rate_hz)
  audio[lost] *= np.maximum(fade, 0).astype(np.float32)
  return audio.reshape(-1)


def fill(codes: np.ndarray, layers: np.ndarray) -> np.ndarray:
  """Returns codes [F, q] where those missing are the last ones that were not.

  Before the first that is there, they are those of frame 0.
  """
  there = np.arange(codes.shape[1]) < layers[:, None]
  frames = np.arange(len(codes))[:, None]
  last = np.maximum.accumulate(np.where(there, frames, 0))
  return np.take_along_axis(codes, last, axis=0)
