"""Losses and gradients of a microbatch: where networks and losses meet.

Data flows through each network once. The generator runs forward and leaves its
pull-back; the discriminators run forward once on real audio and once on the
reconstruction, and leave theirs. From their outputs come two gradients: the
discriminators' own, and the generator's toward the reconstruction, which joins
the spectral one and is pulled back through the generator.
"""

import functools
import operator
from collections.abc import Callable
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from soundstream_jax import config as config_lib
from soundstream_jax.data import batch as batch_lib
from soundstream_jax.devices import sharding
from soundstream_jax.losses import objective
from soundstream_jax.model import quantizer, soundstream
from soundstream_jax.train import bad_steps
from soundstream_jax.train import state as state_lib

Array = jax.Array


@flax.struct.dataclass
class Microbatch:
  """b examples of the global batch, with what was drawn for them."""

  examples: batch_lib.Batch
  rows: Array  # [b] int32, the examples' rows in the global batch
  depths: Array  # [b] int32, quantizer layers per example


@flax.struct.dataclass
class Gradients:
  """Gradients and measurements of a microbatch, to be summed over them."""

  generator: Any
  discriminator: Any
  statistics: quantizer.Statistics
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
  net = soundstream.from_config(config, platform=platform)
  discriminators = state_lib.discriminator_module(config, platform=platform)

  def differentiate(state, microbatch, candidates) -> Gradients:
    heard, target, denoise = microbatch.examples
    target = heard if target is None else target

    def generate(params):
      output = net.apply(
        soundstream.variables(params, state.codebooks.vectors),
        heard,
        denoise=denoise,
        depths=microbatch.depths,
        candidates=candidates,
        rows=microbatch.rows,
        replicas=mesh.size,
      )
      return (output.audio, output.commitment), output

    (recon, commitment), pull_generator, output = jax.vjp(
      generate, state.params, has_aux=True
    )
    to_recon, to_commitment, metrics = _reconstruction_gradients(
      config, target, recon, commitment
    )
    disc_gradient, adversarial_to_recon = {}, jnp.zeros_like(recon)
    adversarial_metrics = {}
    if adversarial:
      disc_gradient, adversarial_to_recon, adversarial_metrics = (
        _adversarial_gradients(
          config, discriminators, state.disc_params, target, recon
        )
      )
    (gradient,) = pull_generator(
      (to_recon + adversarial_to_recon, to_commitment)
    )
    metrics = (
      objective.without_discriminators(recon.dtype)
      | metrics
      | adversarial_metrics
    )
    return Gradients(
      generator=gradient,
      discriminator=disc_gradient,
      statistics=output.statistics,
      metrics=metrics,
      not_finite=_not_finite(
        microbatch.examples, output, recon, commitment, metrics
      ),
    )

  return differentiate


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


def _reconstruction_gradients(config, target, recon, commitment):
  """Returns the gradients toward recon and commitment, and metrics."""
  (_, metrics), to_recon = jax.value_and_grad(
    lambda x: objective.reconstruction(
      config.loss, config.audio.sample_rate_hz, target, x
    ),
    has_aux=True,
  )(recon)
  (_, commitment_metrics), to_commitment = jax.value_and_grad(
    lambda x: objective.commitment(config.loss, x), has_aux=True
  )(commitment)
  return to_recon, to_commitment, metrics | commitment_metrics


def _adversarial_gradients(config, discriminators, disc_params, target, recon):
  """One forward of the discriminators, two gradients.

  Real and decoded audio run apart: the generator's gradient passes only
  through what judged the decoded.

  Returns:
    (gradient of the discriminator loss toward disc_params, gradient of the
    generator's adversarial and feature losses toward recon, metrics).
  """

  def discriminate(disc_params, x):
    return discriminators.apply({"params": disc_params}, x.astype(target.dtype))

  real, pull_real = jax.vjp(lambda p: discriminate(p, target), disc_params)
  fake, pull_fake = jax.vjp(discriminate, disc_params, recon)
  (_, disc_metrics), (real_cotangent, fake_cotangent) = jax.value_and_grad(
    objective.discriminator, argnums=(0, 1), has_aux=True
  )(real, fake)
  (_, adv_metrics), adv_cotangent = jax.value_and_grad(
    lambda fake: objective.adversarial(config.loss, real, fake), has_aux=True
  )(fake)
  disc_gradient = jax.tree.map(
    jnp.add, *pull_real(real_cotangent), pull_fake(fake_cotangent)[0]
  )
  _, recon_gradient = pull_fake(adv_cotangent)
  return disc_gradient, recon_gradient, disc_metrics | adv_metrics
