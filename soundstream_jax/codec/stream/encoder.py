"""Encodes streams of audio as it comes, a block of frames at a time.

A stream keeps what its convolutions need of the past, so the codec's only delay
is that a frame must be whole before it is encoded: one hop. Blocks of one size
go through one compiled program, and input of any chunking is cut into such
blocks; so codes do not depend on how the audio arrived, bit for bit. Between
block sizes, and against the network applied to all audio at once, latents agree
to float rounding and codes but for near ties.
"""

import numpy as np

from soundstream_jax import errors
from soundstream_jax.codec import trained_model
from soundstream_jax.codec.stream import buffering, checks, step


class StreamEncoder:
  """Encodes B streams that advance together, as their audio comes.

  Codes are those of the streams' whole audio, whatever the chunks it came in.
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
    """Starts streams; what they run compiles with their first block.

    Args:
      codec: a `codec.Codec`, or its model.
      streams: B.
      block_frames: frames that are encoded together. One has the least delay;
        more are faster.
      bitrate_bps: one of `codec.bitrates`; None is the highest.
      denoise: takes noise away from speech; where `codec.film` is 'encoder'.

    Raises:
      InputError: a bitrate that the model does not have, denoising where it
        cannot do it, or no streams or frames.
    """
    model = codec.model
    checks.check_counts(streams=streams, block_frames=block_frames)
    model.check_denoise(denoise, "encoder")
    self.num_quantizers = model.layers_for(bitrate_bps)
    self.hop_samples = model.rates.hop_samples
    block = np.zeros(
      (streams, block_frames * model.rates.hop_samples), np.float32
    )
    self._buffer = buffering.BlockBuffer(
      step.compile_encoder(step.network(model.config), self.num_quantizers),
      *model.start_streams(
        "encoder", streams=streams, block_frames=block_frames
      ),
      block=block,
      nothing=np.zeros((streams, 0, self.num_quantizers), np.int32),
      denoise=denoise,
    )

  def push(self, audio: np.ndarray) -> np.ndarray:
    """Takes audio of any length, gives the codes of blocks that are whole.

    Args:
      audio: float32 [B, N], or [N] of one stream, at the codec's rate.

    Returns:
      int32 codes [B, F, q], or [F, q]; F is a multiple of block_frames.

    Raises:
      InputError: another shape, or values that are not finite.
    """
    audio = np.asarray(audio, np.float32)
    batch = checks.batched(audio, (self._buffer.streams, "N"))
    if not np.isfinite(batch).all():
      raise errors.InputError("audio has values that are not finite.")
    codes = self._buffer.push(batch)
    return codes if audio.ndim == 2 else codes[0]

  def flush(self) -> np.ndarray:
    """Ends the streams: codes [B, F, q] of what is left, filled with zeros.

    The last frame is whole; the caller knows how many samples there were. The
    next `push` begins new streams.
    """
    samples = self._buffer.pending
    frames = -(-samples // self.hop_samples)
    return self._buffer.flush()[:, :frames]

  def reset(self, which: np.ndarray | None = None) -> None:
    """Begins streams anew, all or those of a bool mask [B].

    Raises:
      InputError: some, while samples wait for their block to be whole.
    """
    self._buffer.reset(which)
