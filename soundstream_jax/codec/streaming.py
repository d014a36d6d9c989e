"""Encodes and decodes as audio comes and goes, a block of frames at a time.

What a stream keeps is what its convolutions need of the past, so the codec's
only delay is that a frame must be whole before it is encoded: one hop. Blocks of one size go through one compiled
program, and input of any chunking is cut into such blocks; so codes do not
depend on how the audio arrived, bit for bit. Between block sizes, and against
`codec`, latents agree to float rounding and codes but for near ties.
"""

import dataclasses
import functools
from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from soundstream_jax import errors
from soundstream_jax.codec import codec as codec_lib
from soundstream_jax.codec import steps
from soundstream_jax.model import soundstream


class StreamEncoder:
  """Encodes B streams that advance together, as their audio comes.

  Codes are those of the streams' whole audio, whatever the chunks it came in.
  """

  def __init__(
    self,
    codec: codec_lib.Codec,
    *,
    streams: int = 1,
    block_frames: int = 1,
    bitrate_bps: float | None = None,
    denoise: bool = False,
  ):
    """Compiles for one block size.

    Args:
      codec: the model.
      streams: B.
      block_frames: frames that are encoded together. One has the least delay;
        more are faster.
      bitrate_bps: one of `codec.bitrates_bps`; None is the highest.
      denoise: takes noise away from speech; where `codec.film` is 'encoder'.

    Raises:
      InputError: a bitrate that the model does not have, denoising where it
        cannot do it, or no streams or frames.
    """
    codec.check_denoise(denoise, "encoder")
    self.num_quantizers = codec.num_quantizers
    if bitrate_bps is not None:
      self.num_quantizers = codec.quantizers_for(bitrate_bps)
    self.hop_samples = codec.hop_samples
    _check(streams, block_frames)
    net = _net(codec)
    self._blocks = _Blocks(
      functools.partial(steps.encode_step, net, self.num_quantizers),
      steps.prepare(
        net,
        codec.variables,
        side="encoder",
        streams=streams,
        block_frames=block_frames,
      ),
      block=np.zeros((streams, block_frames * codec.hop_samples), np.float32),
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
    audio, single = _batched(np.asarray(audio, np.float32), 2)
    if not np.isfinite(audio).all():
      raise errors.InputError("audio has values that are not finite.")
    return _unbatched(self._codes(self._blocks.push(audio)), single)

  def flush(self) -> np.ndarray:
    """Ends the streams: codes [B, F, q] of what is left, filled with zeros.

    The last frame is whole; the caller knows how many samples there were. The
    next `push` begins new streams.
    """
    samples = self._blocks.pending
    frames = -(-samples // self.hop_samples)
    return self._codes(self._blocks.flush())[:, :frames]

  def reset(self, which: np.ndarray | None = None) -> None:
    """Begins streams anew, all or those of a bool mask [B].

    Raises:
      InputError: some, while samples wait for their block to be whole.
    """
    self._blocks.reset(which)

  def _codes(self, blocks: list[np.ndarray]) -> np.ndarray:
    empty = np.zeros((self._blocks.streams, 0, self.num_quantizers), np.int32)
    return np.concatenate([empty, *blocks], axis=1)


class StreamDecoder:
  """Decodes B streams that advance together, as their codes come."""

  def __init__(
    self,
    codec: codec_lib.Codec,
    *,
    streams: int = 1,
    block_frames: int = 1,
    bitrate_bps: float | None = None,
    denoise: bool = False,
  ):
    """Compiles for one block size and bitrate; arguments of StreamEncoder.

    Raises:
      InputError: as StreamEncoder.
    """
    codec.check_denoise(denoise, "decoder")
    self.num_quantizers = codec.num_quantizers
    if bitrate_bps is not None:
      self.num_quantizers = codec.quantizers_for(bitrate_bps)
    self.codebook_size = codec.codebook_size
    self.hop_samples = codec.hop_samples
    _check(streams, block_frames)
    net = _net(codec)
    self._blocks = _Blocks(
      functools.partial(steps.decode_step, net),
      steps.prepare(
        net,
        codec.variables,
        side="decoder",
        streams=streams,
        block_frames=block_frames,
      ),
      block=np.zeros((streams, block_frames, self.num_quantizers), np.int32),
      denoise=denoise,
    )

  def push(self, codes: np.ndarray) -> np.ndarray:
    """Takes codes of any number of frames, gives the audio of whole blocks.

    Args:
      codes: int32 [B, F, q], or [F, q] of one stream.

    Returns:
      float32 audio [B, N], or [N]; N is a multiple of the block's samples.

    Raises:
      InputError: another shape, or codes that the model does not have.
    """
    codes, single = _batched(np.asarray(codes), 3)
    if not np.issubdtype(codes.dtype, np.integer):
      raise errors.InputError(f"codes of type {codes.dtype} are no integers.")
    if codes.size and not 0 <= codes.min() <= codes.max() < self.codebook_size:
      raise errors.InputError(
        f"codes from {codes.min()} to {codes.max()} are not all below the "
        f"codebook size {self.codebook_size}."
      )
    audio = self._blocks.push(codes.astype(np.int32))
    return _unbatched(self._audio(audio), single)

  def flush(self) -> np.ndarray:
    """Ends the streams: audio [B, N] of the frames that are left."""
    samples = self._blocks.pending * self.hop_samples
    return self._audio(self._blocks.flush())[:, :samples]

  def reset(self, which: np.ndarray | None = None) -> None:
    """Begins streams anew, all or those of a bool mask [B]."""
    self._blocks.reset(which)

  def _audio(self, blocks: list[np.ndarray]) -> np.ndarray:
    empty = np.zeros((self._blocks.streams, 0), np.float32)
    return np.concatenate([empty, *blocks], axis=1)


class _Blocks:
  """Cuts streams into blocks and steps through them with one program."""

  def __init__(
    self,
    step: Callable,
    prepared: tuple[dict, dict],
    *,
    block: np.ndarray,
    denoise: bool,
  ):
    """Takes a step, what `steps.prepare` returned, and a block [B, N, ...] of zeros."""
    self._variables, self._start = prepared
    # The state is donated: each step writes over the last one's.
    self._step = jax.jit(step, donate_argnums=(1,))
    self._block = block
    self._denoise = np.full((self.streams,), denoise)
    self.reset(None)

  @property
  def streams(self) -> int:
    return len(self._block)

  @property
  def pending(self) -> int:
    """Samples or frames that wait for their block to be whole."""
    return self._pending.shape[1]

  def push(self, items: np.ndarray) -> list[np.ndarray]:
    """Takes [B, N, ...]; returns the results of the blocks that are whole."""
    like = self._block.shape
    if items.shape[:1] + items.shape[2:] != like[:1] + like[2:]:
      raise errors.InputError(
        f"input of shape {items.shape} does not fit [{like[0]}, N"
        f"{''.join(f', {n}' for n in like[2:])}]."
      )
    waiting = np.concatenate([self._pending, items], axis=1)
    length, results = like[1], []
    whole = waiting.shape[1] // length * length
    for start in range(0, whole, length):
      self._state, result = self._step(
        self._variables,
        self._state,
        waiting[:, start : start + length],
        self._denoise,
      )
      results.append(result)
    self._pending = waiting[:, whole:]
    # Only now: while the host waits for one block the next are computed.
    return [np.asarray(result) for result in results]

  def flush(self) -> list[np.ndarray]:
    """Steps over what is left, filled with zeros, and begins anew."""
    results = self.push(self._block[:, self.pending :]) if self.pending else []
    self.reset(None)
    return results

  def reset(self, which: np.ndarray | None) -> None:
    """Begins streams anew: all, or those of a bool mask [B]."""
    if which is None:
      self._pending = self._block[:, :0]
      self._state = jax.tree.map(jnp.copy, self._start)
      return
    if self.pending:
      raise errors.InputError(
        f"{self.pending} of the {self._block.shape[1]} of a block are waiting: "
        "single streams can begin anew between blocks only."
      )
    mask = jnp.asarray(which, bool)
    self._state = jax.tree.map(
      lambda now, start: jnp.where(
        mask.reshape(-1, *[1] * (now.ndim - 1)), start, now
      ),
      self._state,
      self._start,
    )


def _net(codec: codec_lib.Codec) -> nn.Module:
  config = dataclasses.replace(codec.config, rematerialise=False)
  return soundstream.from_config(config, form="stream")


def _check(streams: int, block_frames: int) -> None:
  for name, value in (("streams", streams), ("block_frames", block_frames)):
    if value < 1:
      raise errors.InputError(f"{name}={value} must be at least 1.")


def _batched(items: np.ndarray, rank: int) -> tuple[np.ndarray, bool]:
  """Gives one stream without a batch a batch of one; says whether it did."""
  single = items.ndim == rank - 1
  items = items[None] if single else items
  if items.ndim != rank:
    raise errors.InputError(
      f"input of shape {items.shape} has {items.ndim} axes, not {rank}, or "
      f"{rank - 1} for one stream."
    )
  return items, single


def _unbatched(items: np.ndarray, single: bool) -> np.ndarray:
  return items[0] if single else items
