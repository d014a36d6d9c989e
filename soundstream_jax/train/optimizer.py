"""Two Adams, their schedules, clipping, and the generator's moving average.

The paper gives no optimizer, rate, schedule or clipping: all of it is ours and
config.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from soundstream_jax import config as config_lib

# Norms whose median is taken: long enough to be steady, and short beside the
# thousands of steps over which gradients grow or shrink.
HISTORY = 128


def schedule(
  settings: config_lib.Optimizer, peak: float, updates: int
) -> optax.Schedule:
  """Linear warm-up to the peak, then decay: geometric, or a cosine to 0.

  Args:
    settings: of the run.
    peak: the highest rate.
    updates: of a whole run, after the last of which a cosine is 0.
  """
  warmup = settings.warmup_steps

  def rate(count):
    count = jnp.asarray(count, jnp.float32)
    warm = jnp.minimum(1.0, (count + 1.0) / max(1, warmup))
    late = jnp.maximum(count - warmup, 0.0)
    if settings.schedule == "cosine":
      share = jnp.minimum(1.0, late / max(1, updates - warmup))
      return peak * warm * 0.5 * (1.0 + jnp.cos(jnp.pi * share))
    return peak * warm * settings.decay_per_step**late

  return rate


def build(
  config: config_lib.Config,
) -> tuple[optax.GradientTransformation, optax.GradientTransformation]:
  """Returns the optimizers of the generator and of the discriminators."""
  o = config.optimizer

  def one(peak, b1, b2, updates):
    transforms = []
    if o.clip_to_median > 0:
      transforms.append(_clip_to_median(o))
    elif o.clip_norm > 0:
      transforms.append(optax.stateless(_clip_to(o.clip_norm)))
    rate = schedule(o, peak, updates)
    if o.weight_decay > 0:
      decays = {"weight_decay": o.weight_decay, "mask": _kernels}
      transforms.append(optax.adamw(rate, b1=b1, b2=b2, **decays))
    else:
      transforms.append(optax.adam(rate, b1=b1, b2=b2))
    return optax.chain(*transforms)

  own = o.discriminator_beta1, o.discriminator_beta2
  b1, b2 = (
    beta if beta >= 0 else usual
    for beta, usual in zip(own, (o.beta1, o.beta2), strict=True)
  )
  # Each counts its own updates.
  judged = config.discriminator
  updates = (
    config.num_steps // judged.every_steps
    - judged.start_step // judged.every_steps
  )
  return (
    one(o.learning_rate, o.beta1, o.beta2, config.num_steps),
    one(o.discriminator_learning_rate, b1, b2, updates),
  )


def discriminators_learn(
  settings: config_lib.Discriminator, step: jax.Array
) -> jax.Array | None:
  """Whether they do in the step after so many; None: in every step."""
  if settings.every_steps == 1:
    return None
  return (step + 1) % settings.every_steps == 0


def metrics(config: config_lib.Config, opt_states: dict[str, Any]):
  """Returns what is logged of options that are on.

  The norm to which the next gradient is clipped, where that moves, and how
  often the discriminators have learnt, where that is not in every step.

  Args:
    config: of the run.
    opt_states: by network, 'generator' and 'discriminator', before the step.
  """
  found = {}
  for name, opt_state in opt_states.items():
    if config.optimizer.clip_to_median > 0:
      found[f"gradient_limit/{name}"] = _limit(config.optimizer, opt_state[0])
  if config.discriminator.every_steps > 1:
    adam = opt_states["discriminator"][-1][0]
    found["discriminator/updates"] = adam.count.astype(jnp.float32)
  return found


def _kernels(params):
  """True for what weight decay is for: kernels, of projections too."""
  return jax.tree_util.tree_map_with_path(
    lambda path, _: path[-1].key.endswith("kernel"), params
  )


class Norms(NamedTuple):
  """Norms of gradients before they were clipped."""

  last: jax.Array  # [HISTORY], norm k at place k % HISTORY
  count: jax.Array  # int32, norms so far


def _clip_to_median(settings: config_lib.Optimizer):
  """Scales gradients to a global norm of at most `_limit`.

  A norm of zero, or one that is not finite, says nothing about the next ones
  and is not kept.
  """

  def init(params):
    dtypes = [leaf.dtype for leaf in jax.tree.leaves(params)]
    last = jnp.zeros((HISTORY,), jnp.result_type(*dtypes or [jnp.float32]))
    return Norms(last, jnp.zeros((), jnp.int32))

  def update(gradients, norms, params=None):
    norm = optax.tree.norm(gradients)
    clipped = _clip_to(_limit(settings, norms))(gradients, params)
    kept = jnp.isfinite(norm) & (norm > 0)
    last = norms.last.at[norms.count % HISTORY].set(norm)
    return clipped, Norms(
      jnp.where(kept, last, norms.last), norms.count + kept.astype(jnp.int32)
    )

  return optax.GradientTransformation(init, update)


def _limit(settings: config_lib.Optimizer, norms: Norms) -> jax.Array:
  """The norm to which the next gradient is clipped; infinity is none."""
  most = settings.clip_norm if settings.clip_norm > 0 else jnp.inf
  relative = settings.clip_to_median * jnp.median(norms.last)
  full = norms.count >= HISTORY
  return jnp.minimum(most, jnp.where(full, relative, jnp.inf))


def _clip_to(max_norm: float | jax.Array):
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
