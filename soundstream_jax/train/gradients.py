"""Losses and gradients of a microbatch: where networks and losses meet.

Data flows through each network once. The generator runs forward and leaves its
pull-back; the discriminators run forward once on real audio and once on the
reconstruction, and leave theirs. From their outputs come two gradients: the
discriminators' own, and the generator's toward the reconstruction, which joins
the spectral one and is pulled back through the generator.

With the loss balancer the gradients of all losses toward the reconstruction
are computed apart. Without it they are so only to be logged, and only in steps
that are: the discriminators would have to be passed a third time.
"""

import functools
import operator
from collections.abc import Callable
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
from jax import lax
from jax.sharding import Mesh

from soundstream_jax import config as config_lib
from soundstream_jax.data import batch as batch_lib
from soundstream_jax.devices import sharding
from soundstream_jax.losses import balancer, objective
from soundstream_jax.model import quantizer, soundstream
from soundstream_jax.train import bad_steps, optimizer
from soundstream_jax.train import state as state_lib

Array = jax.Array

# Where convolutions inside a conditional take six times as long: a gradient that
# nobody needs is computed all the same.
SLOW_CONDITIONALS = ("cpu",)


@flax.struct.dataclass
class Microbatch:
  """b examples of the global batch, with what was drawn for them."""

  examples: batch_lib.Batch
  rows: Array  # [b] int32, the examples' rows in the global batch
  depths: Array  # [b] int32, quantizer layers per example
  bypass: Array | None = None  # [b] bool, whose latents stay unquantized


@flax.struct.dataclass
class Gradients:
  """Gradients and measurements of a microbatch, to be summed over them."""

  generator: Any
  discriminator: Any
  statistics: quantizer.Statistics
  measured: balancer.Measured
  metrics: dict[str, Array]
  not_finite: Array  # [8] int32, for the first terms of bad_steps.CHECKED


def differentiator(
  config: config_lib.Config, mesh: Mesh, *, adversarial: bool
) -> Callable[..., Gradients]:
  """Returns the function (state, microbatch, candidates) -> Gradients.

  Args:
    config: what to train.
    mesh: of the run.
    adversarial: whether the discriminators take part; without them, their
      metrics are zero.
  """
  platform = sharding.platform(mesh)
  net = soundstream.from_config(
    config, platform=platform, dtype=config.dtype_in_training
  )
  discriminators = state_lib.discriminator_module(config, platform=platform)

  def differentiate(state, microbatch, candidates) -> Gradients:
    heard, target, denoise = microbatch.examples
    target = heard if target is None else target

    def generate(params):
      output = net.apply(
        soundstream.variables(params, state.codebooks.vectors),
        heard,
        denoise=denoise,
        bypass=microbatch.bypass,
        depths=microbatch.depths,
        candidates=candidates,
        rows=microbatch.rows,
        replicas=mesh.size,
      )
      return (output.audio, output.commitment), output

    (recon, commitment), pull_generator, output = jax.vjp(
      generate, state.params, has_aux=True
    )
    factors = objective.factors(config, state.step)
    to_commitment, commitment_metrics = _commitment_gradient(config, commitment)
    reconstruction = _reconstruction_gradients(config, target, recon, factors)
    disc_gradient, judged = {}, _nothing(recon)
    if adversarial:
      learns = optimizer.discriminators_learn(config.discriminator, state.step)
      disc_gradient, judged = _adversarial_gradients(
        config,
        discriminators,
        state.disc_params,
        target,
        recon,
        factors,
        learns=None if platform in SLOW_CONDITIONALS else learns,
      )
    to_recon, measured = _joined(config, state, reconstruction, judged)
    (gradient,) = pull_generator((to_recon, to_commitment))
    metrics = (
      objective.without_discriminators(recon.dtype)
      | reconstruction.metrics
      | commitment_metrics
      | judged.metrics
      | _weights_now(config, factors)
    )
    return Gradients(
      generator=gradient,
      discriminator=disc_gradient,
      statistics=output.statistics,
      measured=measured,
      metrics=metrics,
      not_finite=_not_finite(
        microbatch.examples, output, recon, commitment, metrics
      ),
    )

  return differentiate


def _weights_now(config, factors: objective.Factors) -> dict[str, Array]:
  """Returns "weight/LOSS" of every loss that has a schedule."""
  weights = objective.weights(config.loss, adversarial=True)
  now = objective.scheduled(weights, factors)
  return {f"weight/{name}": now[name] for name in factors}


def _not_finite(examples, output, recon, commitment, metrics) -> Array:
  """Checks the terms of bad_steps.CHECKED that a microbatch has: [8] int32."""
  adversarial = [metrics[name] for name in objective.ADVERSARIAL]
  return bad_steps.not_finite(
    examples,
    output.latents,
    recon,
    commitment,
    output.statistics.sums,
    metrics["loss/reconstruction"],
    functools.reduce(operator.add, adversarial),
    metrics["loss/discriminator"],
  )


@flax.struct.dataclass
class _ToRecon:
  """Gradients toward the reconstruction, of some of the losses."""

  total: Array  # [b, T, 1], of the weighted sum
  # Of the losses, at this step.
  weights: dict[str, float | Array] = flax.struct.field(pytree_node=False)
  # Loss -> the gradient [b, T, 1] of a loss without its weight.
  of: Callable[[str], Array] = flax.struct.field(pytree_node=False)
  metrics: dict[str, Array]


def _joined(config, state, reconstruction: _ToRecon, judged: _ToRecon):
  """Returns the gradient that the generator learns from, and its parts' norms.

  Losses that the step does not have are measured as 0.
  """
  absent = {
    name: jnp.zeros((), reconstruction.total.dtype)
    for name in objective.weights(config.loss, adversarial=True)
  }
  if config.loss.balancer:
    balanced = balancer.balance(
      config.loss,
      state.balancer,
      reconstruction.weights | judged.weights,
      {
        n: part.of(n) for part in (reconstruction, judged) for n in part.weights
      },
    )
    gradient, found = balanced.gradient, [balanced.measured]
  else:
    gradient = reconstruction.total + judged.total
    is_logged = (state.step + 1) % config.logging.every_steps == 0
    found = [_apart(part, is_logged) for part in (reconstruction, judged)]
  measured = balancer.Measured(norms=dict(absent), applied=dict(absent))
  for one in found:
    measured.norms.update(one.norms)
    measured.applied.update(one.applied)
  return gradient, measured


def _apart(part: _ToRecon, is_logged: Array) -> balancer.Measured:
  """Measures each loss in a step that is logged; else it may be NaN."""
  # What is left of a sum is no measure of a loss that has all but faded.
  constant = {n: not isinstance(w, Array) for n, w in part.weights.items()}
  *first, last = sorted(constant, key=constant.get) or [""]
  if not last:
    return balancer.Measured(norms={}, applied={})
  if not first:
    return balancer.weighted(part.weights, {last: part.total})

  def measure() -> balancer.Measured:
    gradients = {name: part.weights[name] * part.of(name) for name in first}
    # What is left of the sum: one pass less.
    rest = part.total - functools.reduce(operator.add, gradients.values())
    return balancer.weighted(part.weights, {**gradients, last: rest})

  def nothing() -> balancer.Measured:
    return jax.tree.map(
      lambda leaf: jnp.full(leaf.shape, jnp.nan, leaf.dtype),
      jax.eval_shape(measure),
    )

  return lax.cond(is_logged, measure, nothing)


def _nothing(recon: Array) -> _ToRecon:
  """The gradients of no losses."""
  return _ToRecon(
    total=jnp.zeros_like(recon), weights={}, of=lambda _: recon, metrics={}
  )


def _commitment_gradient(config, commitment):
  """Returns the gradient toward commitment, and metrics."""
  (_, metrics), gradient = jax.value_and_grad(
    lambda x: objective.commitment(config.loss, x), has_aux=True
  )(commitment)
  return gradient, metrics


def _reconstruction_gradients(config, target, recon, factors) -> _ToRecon:
  """The gradients of the losses that compare waveforms."""
  rate = config.audio.sample_rate_hz
  (_, metrics), total = jax.value_and_grad(
    lambda x: objective.reconstruction(config.loss, rate, target, x, factors),
    has_aux=True,
  )(recon)

  def of(name: str) -> Array:
    measure = objective.RECONSTRUCTION[name].measure
    return jax.grad(lambda x: measure(config.loss, rate, target, x)[name])(
      recon
    )

  weights = objective.scheduled(
    objective.weights(config.loss, adversarial=False), factors
  )
  return _ToRecon(total=total, weights=weights, of=of, metrics=metrics)


def _adversarial_gradients(
  config,
  discriminators,
  disc_params,
  target,
  recon,
  factors,
  *,
  learns: Array | None,
):
  """One forward of the discriminators, two gradients.

  Real and decoded audio run apart: the generator's gradient passes only
  through what judged the decoded.

  Args:
    learns: whether the discriminators' gradient is needed, otherwise zero; None
      computes it always.

  Returns:
    (gradient of the discriminator loss toward disc_params, those of the
    generator's adversarial and feature losses toward recon with the metrics of
    both).
  """

  def discriminate(disc_params, x):
    return discriminators.apply({"params": disc_params}, x.astype(target.dtype))

  real, pull_real = jax.vjp(lambda p: discriminate(p, target), disc_params)
  fake, pull_fake = jax.vjp(discriminate, disc_params, recon)
  (_, disc_metrics), (real_cotangent, fake_cotangent) = jax.value_and_grad(
    objective.discriminator, argnums=(0, 1), has_aux=True
  )(real, fake)
  (_, adv_metrics), adv_cotangent = jax.value_and_grad(
    lambda fake: objective.adversarial(config.loss, real, fake, factors),
    has_aux=True,
  )(fake)

  def learn():
    return jax.tree.map(
      jnp.add, *pull_real(real_cotangent), pull_fake(fake_cotangent)[0]
    )

  if learns is None:
    disc_gradient = learn()
  else:
    zeros = functools.partial(jax.tree.map, jnp.zeros_like, disc_params)
    disc_gradient = lax.cond(learns, learn, zeros)
  _, total = pull_fake(adv_cotangent)

  def of(name: str) -> Array:
    measure = objective.ADVERSARIAL[name].measure
    return pull_fake(jax.grad(lambda x: measure(real, x))(fake))[1]

  every = objective.weights(config.loss, adversarial=True)
  weights = objective.scheduled(
    {n: weight for n, weight in every.items() if n in objective.ADVERSARIAL},
    factors,
  )
  judged = _ToRecon(
    total=total, weights=weights, of=of, metrics=disc_metrics | adv_metrics
  )
  return disc_gradient, judged
