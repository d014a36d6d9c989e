"""Loss balancer: weights that are shares of the gradient at the audio.

After EnCodec (arXiv 2210.13438, section 3.4). With g_i the gradient of loss i
toward the decoded audio and w_i its weight, the generator learns from

    sum_i  R * w_i / sum_j w_j * g_i / <|g_i|>

where <> is a moving average over steps, so that a weight says what share of
the total norm R a loss has, whatever its scale. The sums are over the losses
that are present. What stays ours, and why:

* |g_i| is the mean over examples of the norm of the example's own gradient
  (EnCodec averages norms over the batch likewise, of gradients that have the
  batch's 1 / B in them). It depends neither on the size of the batch nor on
  how that is split over devices and microbatches; the norm of the whole batch's
  gradient would, by 1 / sqrt(B).
* The average is that of the steps before. So the scales are known when a step
  starts: every microbatch is scaled alike, and no device waits for the others
  between its forward and its backward pass. A loss that has no average yet, in
  the first step that it takes part in, is measured and does not count: it is
  present from the next step on.
* No example is scaled beyond R * share / (1 - decay), which is the most that
  EnCodec's average, with the present step in it, lets through: after a loss has
  been silent for long, the first loud example does not explode.
* The commitment loss has no gradient at the audio. It stays outside, with its
  weight as it is, as in EnCodec.
"""

from collections.abc import Mapping

import flax.struct
import jax
import jax.numpy as jnp

from soundstream_jax import config

Array = jax.Array
# Loss -> {"sum", "weight"}: scalars whose ratio is the average of its norm.
Averages = dict[str, dict[str, Array]]


@flax.struct.dataclass
class Measured:
  """Norms of the losses' gradients, means over examples; by loss, scalars."""

  norms: dict[str, Array]  # of the losses as they are
  applied: dict[str, Array]  # of what the generator learns from


@flax.struct.dataclass
class Balanced:
  gradient: Array  # [B, T, 1], what the generator learns from
  measured: Measured


def start(names: list[str], dtype: jax.typing.DTypeLike) -> Averages:
  """Returns averages of nothing yet."""
  return {
    name: {part: jnp.zeros((), dtype) for part in ("sum", "weight")}
    for name in names
  }


def update(
  averages: Averages, norms: Mapping[str, Array], *, decay: float
) -> Averages:
  """Returns the averages after a step in which some losses had these norms."""
  after = dict(averages)
  for name, norm in norms.items():
    before = averages[name]
    after[name] = {
      "sum": decay * before["sum"] + (1 - decay) * norm,
      "weight": decay * before["weight"] + (1 - decay),
    }
  return after


def balance(
  settings: config.Loss,
  averages: Averages,
  weights: Mapping[str, float | Array],
  gradients: Mapping[str, Array],
) -> Balanced:
  """Scales the gradients of losses to their shares and adds them up.

  Args:
    settings: the total norm, and the decay of the averages.
    averages: of the steps before.
    weights: of the losses that this step has, which a schedule may change
      from step to step, and with them everybody's share.
    gradients: of the same losses, without weights, each [B, T, 1].
  """
  present = {
    name: jnp.where(averages[name]["weight"] > 0, weight, 0.0)
    for name, weight in weights.items()
  }
  whole = sum(present.values())
  total, measured = 0, Measured(norms={}, applied={})
  for name, gradient in gradients.items():
    target = settings.balancer_norm * _ratio(present[name], whole)
    norms = _example_norms(gradient)
    average = _ratio(averages[name]["sum"], averages[name]["weight"])
    scales = _ratio(
      target.astype(norms.dtype),
      jnp.maximum(average, (1 - settings.balancer_decay) * norms),
    )
    total += scales[:, None, None] * gradient
    measured.norms[name] = jnp.mean(norms)
    measured.applied[name] = jnp.mean(scales * norms)
  return Balanced(total, measured)


def weighted(
  weights: Mapping[str, float | Array], gradients: Mapping[str, Array]
) -> Measured:
  """Measures gradients [B, T, 1] that weights were applied to.

  A loss whose weight a schedule has brought to 0 is measured as 0.
  """

  def unweighted(norm: Array, weight: float | Array) -> Array:
    scheduled = isinstance(weight, jax.Array)
    return _ratio(norm, weight) if scheduled else norm / weight

  applied = {n: jnp.mean(_example_norms(g)) for n, g in gradients.items()}
  return Measured(
    norms={
      name: unweighted(norm, weights[name]) for name, norm in applied.items()
    },
    applied=applied,
  )


def metrics(measured: Measured) -> dict[str, Array]:
  """Returns "gradient_norm/LOSS", and "gradient_share/LOSS", which add to 1."""
  whole = sum(measured.applied.values())
  norms = {f"gradient_norm/{n}": norm for n, norm in measured.norms.items()}
  return norms | {
    f"gradient_share/{name}": _ratio(norm, whole)
    for name, norm in measured.applied.items()
  }


def _example_norms(gradient: Array) -> Array:
  """Norms [B] of each example's own gradient, of that of a mean over B."""
  return len(gradient) * jnp.sqrt(jnp.sum(jnp.square(gradient), axis=(1, 2)))


def _ratio(part: Array, whole: Array) -> Array:
  """part / whole, and 0 where whole is 0; a NaN stays one."""
  nothing = whole == 0
  return jnp.where(nothing, jnp.zeros_like(part), part) / jnp.where(
    nothing, jnp.ones_like(whole), whole
  )
