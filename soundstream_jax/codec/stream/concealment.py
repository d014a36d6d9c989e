"""Conceals lost frames: holds the last sound, fades it out, and back in.

The latents of the last frame that arrived are held, 80 ms at full volume; then
the sound fades to silence within 40 ms along half a cosine (the times of Lyra
V2). The first frame that arrives turns the volume up again. Time is kept: a
lost frame gives as many samples as any other.

Silence, not a noise floor of the sound before: it takes no estimate that a loss
at the wrong moment leaves wrong, and is heard in gaps beyond 120 ms alone, which
bursts of a few packets seldom reach.
"""

import math

import flax.struct
import jax
import jax.numpy as jnp

Array = jax.Array

HOLD_S = 0.08
FADE_S = 0.04


@flax.struct.dataclass
class State:
  """Of B streams; zeros at their start."""

  latents: Array  # [B, D] of the last frame that arrived
  gap: Array  # [B] int32, frames lost since
  heard: Array  # [B] bool, whether any frame arrived


def durations(frame_rate_hz: float) -> tuple[int, int]:
  """Returns the frames of a gap that hold the sound, and that it fades in."""
  hold, fade = (math.ceil(s * frame_rate_hz) for s in (HOLD_S, FADE_S))
  return hold, fade


def start(like: Array) -> State:
  """The state of new streams whose blocks of latents are like [B, F, D]."""
  return State(
    latents=jnp.zeros_like(like[:, 0]),
    gap=jnp.zeros(like.shape[:1], jnp.int32),
    heard=jnp.zeros(like.shape[:1], jnp.bool_),
  )


def fill(
  state: State, latents: Array, arrived: Array, *, frame_rate_hz: float
) -> tuple[State, Array, Array]:
  """Puts latents where they were lost.

  Args:
    state: of `start`, or of the block before.
    latents: [B, F, D]; those of lost frames are not looked at.
    arrived: bool [B, F].
    frame_rate_hz: F per second.

  Returns:
    The new state; latents [B, F, D]; and how far sound has faded away when a
    frame begins and when it ends, [B, F + 1] from 0 to 1, for `gain`.
  """
  hold, fade = durations(frame_rate_hz)
  count = jnp.arange(1, arrived.shape[1] + 1, dtype=jnp.int32)[None]
  # The newest frame of this block that arrived, from 1 on. The largest of each
  # frame and those before it; every compiler knows this, not all a running one.
  up_to = count[..., None] >= count[:, None]  # [1, F, F]
  newest = jnp.where(up_to & arrived[:, None], count[:, None], 0).max(axis=-1)
  before, heard = state.gap[:, None], state.heard[:, None]
  # Before the first frame that arrives there is nothing to hold: silence.
  gap = jnp.where(heard, before + count, hold + fade)
  gap = jnp.where(newest > 0, count - newest, jnp.minimum(gap, hold + fade))
  before = jnp.where(heard | arrived[:, :1], before, gap[:, :1])
  gaps = jnp.concatenate([before, gap], axis=1).astype(jnp.float32)
  faded = jnp.clip((gaps - hold) / fade, 0.0, 1.0)
  every = jnp.concatenate([state.latents[:, None], latents], axis=1)
  held = jnp.take_along_axis(every, newest[..., None], axis=1)
  state = State(
    latents=held[:, -1],
    gap=gap[:, -1],
    heard=state.heard | (newest[:, -1] > 0),
  )
  return state, held, faded


def gain(faded: Array, hop_samples: int) -> Array:
  """Returns the gain of each sample, [B, F * hop]; 1 where nothing is lost.

  It moves by pi / 2 / hop from sample to sample at most.

  Args:
    faded: of `fill`.
  """
  # Of a sample within its frame: the last is where the next frame begins.
  time = jnp.arange(1, hop_samples + 1, dtype=jnp.float32) / hop_samples
  begin, end = faded[:, :-1, None], faded[:, 1:, None]
  way = begin + (end - begin) * time.reshape((1, 1, -1))
  return (0.5 + 0.5 * jnp.cos(math.pi * way)).reshape(faded.shape[0], -1)
