"""Two Adams, their schedule, and the generator's moving average.

The paper gives no optimizer, rate, schedule or clipping: all of it is ours and
config.
"""

import jax
import jax.numpy as jnp
import optax

from soundstream_jax import config as config_lib


def schedule(settings: config_lib.Optimizer, peak: float) -> optax.Schedule:
  """Linear warm-up to the peak, then geometric decay per step."""

  def rate(count):
    count = jnp.asarray(count, jnp.float32)
    warm = jnp.minimum(1.0, (count + 1.0) / max(1, settings.warmup_steps))
    late = jnp.maximum(count - settings.warmup_steps, 0.0)
    return peak * warm * settings.decay_per_step**late

  return rate


def build(
  settings: config_lib.Optimizer,
) -> tuple[optax.GradientTransformation, optax.GradientTransformation]:
  """Returns the optimizers of the generator and of the discriminators."""

  def one(peak):
    transforms = []
    if settings.clip_norm > 0:
      transforms.append(optax.stateless(_clip_to(settings.clip_norm)))
    transforms.append(
      optax.adam(schedule(settings, peak), b1=settings.beta1, b2=settings.beta2)
    )
    return optax.chain(*transforms)

  return (
    one(settings.learning_rate),
    one(settings.discriminator_learning_rate),
  )


def _clip_to(max_norm: float):
  """Scales gradients to a global norm of at most max_norm.

  As optax.clip_by_global_norm, by one factor: its select between two scales
  is an array more to write for every leaf of the state.
  """

  def clip(gradients, params):
    del params
    factor = jnp.minimum(1.0, max_norm / optax.tree.norm(gradients))
    return jax.tree.map(
      lambda leaf: factor.astype(leaf.dtype) * leaf, gradients
    )

  return clip


def apply(transform, gradients, opt_state, params):
  """One update; returns (params, opt_state).

  The one place under standard promotion: optax's Adam mixes a Python scalar's
  type with the parameters'.
  """
  with jax.numpy_dtype_promotion("standard"):
    updates, opt_state = transform.update(gradients, opt_state, params)
    return optax.apply_updates(params, updates), opt_state


def average(ema_params, params, step, *, decay: float):
  """Moving average with decay min(decay, (1 + t) / (10 + t)), t = step.

  With a decay of 0 it is the parameters themselves, bit for bit.
  """
  if not decay:
    return params
  t = step.astype(jnp.float32)
  rate = jnp.minimum(jnp.float32(decay), (1.0 + t) / (10.0 + t))
  return jax.tree.map(
    lambda old, new: old + (1 - rate).astype(old.dtype) * (new - old),
    ema_params,
    params,
  )
