"""Encodes and decodes as audio comes and goes, a block of frames at a time.

What a stream keeps is what its convolutions need of the past, so the codec's
only delay is that a frame must be whole before it is encoded: one hop. Blocks
of one size go through one compiled program, and input of any chunking is cut
into such blocks; so codes do not depend on how the audio arrived, bit for bit.
Between block sizes, and against `codec`, latents agree to float rounding and
codes but for near ties.
"""

import dataclasses
import functools

import flax.linen as nn
import jax
import numpy as np

from soundstream_jax import errors
from soundstream_jax.codec.stream import buffering
from soundstream_jax.codec.stream import step as step_lib
from soundstream_jax.devices import xla_flags
from soundstream_jax.model import soundstream


class StreamEncoder:
  """Encodes B streams that advance together, as their audio comes.

  Codes are those of the streams' whole audio, whatever the chunks it came in.
  """

  def __init__(
    self,
    codec,
    *,
    streams: int = 1,
    block_frames: int = 1,
    bitrate_bps: float | None = None,
    denoise: bool = False,
  ):
    """Starts streams; what they run compiles with their first block.

    Args:
      codec: `codec.Codec`, the model.
      streams: B.
      block_frames: frames that are encoded together. One has the least delay;
        more are faster.
      bitrate_bps: one of `codec.bitrates`; None is the highest.
      denoise: takes noise away from speech; where `codec.film` is 'encoder'.

    Raises:
      InputError: a bitrate that the model does not have, denoising where it
        cannot do it, or no streams or frames.
    """
    _check(streams=streams, block_frames=block_frames)
    codec.check_denoise(denoise, "encoder")
    self.num_quantizers = _layers(codec, bitrate_bps)
    self.hop_samples = codec.hop_samples
    block = np.zeros((streams, block_frames * codec.hop_samples), np.float32)
    self._blocks = buffering.Blocks(
      _encoding(net(codec), self.num_quantizers),
      *codec.prepared("encoder", streams=streams, block_frames=block_frames),
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
    batch = _batched(audio, (self._blocks.streams, "N"))
    if not np.isfinite(batch).all():
      raise errors.InputError("audio has values that are not finite.")
    codes = self._blocks.push(batch)
    return codes if audio.ndim == 2 else codes[0]

  def flush(self) -> np.ndarray:
    """Ends the streams: codes [B, F, q] of what is left, filled with zeros.

    The last frame is whole; the caller knows how many samples there were. The
    next `push` begins new streams.
    """
    samples = self._blocks.pending
    frames = -(-samples // self.hop_samples)
    return self._blocks.flush()[:, :frames]

  def reset(self, which: np.ndarray | None = None) -> None:
    """Begins streams anew, all or those of a bool mask [B].

    Raises:
      InputError: some, while samples wait for their block to be whole.
    """
    self._blocks.reset(which)


class StreamDecoder:
  """Decodes B streams that advance together, as their codes come.

  What did not arrive is concealed (see `concealment`).
  """

  def __init__(
    self,
    codec,
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
    _check(streams=streams, block_frames=block_frames)
    codec.check_denoise(denoise, "decoder")
    self.num_quantizers = _layers(codec, bitrate_bps)
    self.codebook_size = codec.codebook_size
    self.hop_samples = codec.hop_samples
    # Frames that fill a block are lost ones.
    block = np.zeros((streams, block_frames, 1 + self.num_quantizers), np.int32)
    self._blocks = buffering.Blocks(
      _decoding(net(codec), float(codec.frame_rate)),
      *codec.prepared("decoder", streams=streams, block_frames=block_frames),
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
    batch = _batched(codes, (self._blocks.streams, "N", self.num_quantizers))
    if layers is None:
      layers = self.num_quantizers
    else:
      layers = np.asarray(layers)
      if layers.shape != codes.shape[:-1]:
        raise errors.InputError(
          f"layers of shape {layers.shape} do not fit codes of {codes.shape}."
        )
      _check_integers("layers", layers, self.num_quantizers + 1, "q + 1 =")
      arrived = np.arange(self.num_quantizers) < layers[..., None]
      batch = np.where(arrived, batch, 0)
    _check_integers("codes", batch, self.codebook_size, "the codebook size")
    items = np.empty((*batch.shape[:2], 1 + self.num_quantizers), np.int32)
    items[..., 0], items[..., 1:] = layers, batch
    audio = self._blocks.push(items)
    return audio if codes.ndim == 3 else audio[0]

  def flush(self) -> np.ndarray:
    """Ends the streams: audio [B, N] of the frames that are left."""
    samples = self._blocks.pending * self.hop_samples
    return self._blocks.flush()[:, :samples]

  def reset(self, which: np.ndarray | None = None) -> None:
    """Begins streams anew, all or those of a bool mask [B].

    Raises:
      InputError: some, while frames wait for their block to be whole.
    """
    self._blocks.reset(which)


# Kept, so that streams which are alike compile once. The state is donated: each
# step writes over the last one's.
@functools.cache
def _encoding(net: nn.Module, num_quantizers: int):
  step = functools.partial(step_lib.encode_step, net, num_quantizers)
  return _compiled(step)


@functools.cache
def _decoding(net: nn.Module, frame_rate_hz: float):
  def step(variables, state, items, denoise):
    layers, codes = items[..., 0], items[..., 1:]
    return step_lib.decode_step(
      net, frame_rate_hz, variables, state, codes, layers, denoise
    )

  return _compiled(step)


def _compiled(step):
  platform = jax.default_backend()
  return jax.jit(
    step,
    donate_argnums=(1,),
    # Where the processor has such vectors; 1.03 of the speed.
    compiler_options=xla_flags.on_cpus(
      platform, xla_cpu_prefer_vector_width=512
    ),
  )


def net(codec) -> nn.Module:
  """Returns the network of `codec.Codec` in its streaming form."""
  config = dataclasses.replace(codec.config, rematerialise=False)
  return soundstream.from_config(config, form="stream")


def _layers(codec, bitrate_bps: float | None) -> int:
  if bitrate_bps is None:
    return codec.num_quantizers
  return codec.quantizers_for(bitrate_bps)


def _check(**counts: int) -> None:
  for name, value in counts.items():
    if value < 1:
      raise errors.InputError(f"{name}={value} must be at least 1.")


def _check_integers(name: str, values: np.ndarray, end: int, what: str) -> None:
  """Refuses what is not from 0 up to `end`, exclusive, which is `what`."""
  if values.dtype.kind not in "iu":
    raise errors.InputError(f"{name} of type {values.dtype} are no integers.")
  if values.size and not 0 <= values.min() <= values.max() < end:
    raise errors.InputError(
      f"{name} from {values.min()} to {values.max()} are not all from 0 up, "
      f"below {what} {end}."
    )


def _batched(items: np.ndarray, shape: tuple) -> np.ndarray:
  """Returns [B, N, ...] of that or, of one stream, of [N, ...]."""
  if items.ndim not in (len(shape) - 1, len(shape)):
    raise errors.InputError(
      f"input of shape {items.shape} has {items.ndim} axes, not {len(shape)}, "
      f"or {len(shape) - 1} for one stream."
    )
  batch = items if items.ndim == len(shape) else items[None]
  if batch.shape[:1] + batch.shape[2:] != shape[:1] + shape[2:]:
    raise errors.InputError(
      f"input of shape {items.shape} does not fit "
      f"[{', '.join(map(str, shape))}]."
    )
  return batch
