"""Decodes streams of codes as they come, a block of frames at a time.

Blocks are those of `encoder`: audio does not depend on how the codes arrived.
"""

import numpy as np

from soundstream_jax import errors
from soundstream_jax.codec import trained_model
from soundstream_jax.codec.stream import buffering, checks, step


class StreamDecoder:
  """Decodes B streams that advance together, as their codes come.

  What did not arrive is concealed (see `concealment`).
  """

  def __init__(
    self,
    codec: trained_model.HasModel,
    *,
    streams: int = 1,
    block_frames: int = 1,
    bitrate_bps: float | None = None,
    denoise: bool = False,
  ):
    """Starts streams of one bitrate; arguments of StreamEncoder.

    Raises:
      InputError: as StreamEncoder.
    """
    model = codec.model
    checks.check_counts(streams=streams, block_frames=block_frames)
    model.check_denoise(denoise, "decoder")
    self.num_quantizers = model.layers_for(bitrate_bps)
    self.codebook_size = model.rates.codebook_size
    self.hop_samples = model.rates.hop_samples
    # Frames that fill a block are lost ones.
    block = np.zeros((streams, block_frames, 1 + self.num_quantizers), np.int32)
    self._buffer = buffering.BlockBuffer(
      step.compile_decoder(
        step.network(model.config), float(model.rates.frame_rate_hz)
      ),
      *model.start_streams(
        "decoder", streams=streams, block_frames=block_frames
      ),
      block=block,
      nothing=np.zeros((streams, 0), np.float32),
      denoise=denoise,
    )

  def push(
    self, codes: np.ndarray, *, layers: np.ndarray | None = None
  ) -> np.ndarray:
    """Takes codes of any number of frames, gives the audio of whole blocks.

    Args:
      codes: int32 [B, F, q], or [F, q] of one stream.
      layers: int [B, F], or [F]: how many of a frame's first layers arrived.
        Fewer than q lower the frame's bitrate; 0 is a lost frame, which is
        concealed. Codes of other layers are not looked at. None is all.

    Returns:
      float32 audio [B, N], or [N]; N is a multiple of the block's samples.

    Raises:
      InputError: another shape, more layers than q, or codes that the model
        does not have.
    """
    codes = np.asarray(codes)
    batch = checks.batched(
      codes, (self._buffer.streams, "N", self.num_quantizers)
    )
    if layers is None:
      layers = self.num_quantizers
    else:
      layers = np.asarray(layers)
      if layers.shape != codes.shape[:-1]:
        raise errors.InputError(
          f"layers of shape {layers.shape} do not fit codes of {codes.shape}."
        )
      checks.check_integers(
        "layers", layers, self.num_quantizers + 1, "q + 1 ="
      )
      arrived = np.arange(self.num_quantizers) < layers[..., None]
      batch = np.where(arrived, batch, 0)
    checks.check_integers(
      "codes", batch, self.codebook_size, "the codebook size"
    )
    items = np.empty((*batch.shape[:2], 1 + self.num_quantizers), np.int32)
    items[..., 0], items[..., 1:] = layers, batch
    audio = self._buffer.push(items)
    return audio if codes.ndim == 3 else audio[0]

  def flush(self) -> np.ndarray:
    """Ends the streams: audio [B, N] of the frames that are left."""
    samples = self._buffer.pending * self.hop_samples
    return self._buffer.flush()[:, :samples]

  def reset(self, which: np.ndarray | None = None) -> None:
    """Begins streams anew, all or those of a bool mask [B].

    Raises:
      InputError: some, while frames wait for their block to be whole.
    """
    self._buffer.reset(which)
