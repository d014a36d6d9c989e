"""One training step: the only place where model, losses and optimizers meet.

Data flows through each network once. The generator runs forward and leaves its
pull-back; the discriminators run forward once on real audio and once on the
reconstruction, and leave theirs. From their outputs come two gradients: the
discriminators' own, and the generator's toward the reconstruction, which joins
the spectral one and is pulled back through the generator.

All arrays are global: batch statistics are those of the global batch on any
number of devices, and no axis name appears in the model.
"""

from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import optax
from jax import lax
from jax.sharding import Mesh

from soundstream_jax import config as config_lib
from soundstream_jax import precision, rng
from soundstream_jax.data import batch as batch_lib
from soundstream_jax.devices import sharding
from soundstream_jax.losses import objective
from soundstream_jax.metrics import codebook_use
from soundstream_jax.model import codebook, quantizer, soundstream
from soundstream_jax.train import compiled, microbatches, optimizer
from soundstream_jax.train import state as state_lib

Array = jax.Array

# What is checked for NaN and infinity, in the order of the data's flow: the
# first bad one is the one to report.
CHECKED = (
  "audio",
  "latents",
  "reconstruction",
  "commitment loss",
  "codebook statistics",
  "reconstruction loss",
  "adversarial loss",
  "discriminator loss",
  "generator gradient",
  "discriminator gradient",
)

# Metrics that are zero in a step without discriminators.
ADVERSARIAL = (
  "loss/adversarial",
  "loss/feature",
  "loss/discriminator",
  "discriminator/accuracy_real",
  "discriminator/accuracy_fake",
)


def build(config: config_lib.Config, mesh: Mesh, *, adversarial: bool = True):
  """Builds the one training step of a configuration.

  Args:
    config: what to train.
    mesh: of `distributed.make_mesh`.
    adversarial: False is the step before discriminator.start_step, without
      discriminators. A program of its own: inside a conditional the
      discriminators took about five times as long on a CPU.

  Returns:
    (step, (state, batch)): the jitted function (state, batch) -> (state,
    metrics), which donates its state, and its abstract arguments with their
    shardings. The batch has the parts that `batch.of` keeps; metrics are
    flat float32 scalars, or [Q] for the codebooks'.

  Raises:
    InputError: the batch does not divide by the devices.
  """
  sharding.check_batch(
    config.batch_size, mesh, microbatches=config.microbatches
  )
  abstract_state = state_lib.abstract(config)
  state_shardings = sharding.of_tree(abstract_state, mesh)
  batch_sharding = sharding.batch(mesh)
  step = jax.jit(
    _step_function(config, mesh, adversarial=adversarial),
    in_shardings=(state_shardings, batch_sharding),
    out_shardings=(state_shardings, sharding.replicated(mesh)),
    donate_argnums=(0,),
    compiler_options=compiled.options(sharding.platform(mesh)),
  )
  state = jax.tree.map(
    lambda leaf, place: jax.ShapeDtypeStruct(
      leaf.shape, leaf.dtype, sharding=place
    ),
    abstract_state,
    state_shardings,
  )
  audio = jax.ShapeDtypeStruct(
    (config.batch_size, config.data.crop_samples, 1),
    precision.of_parameters(config.model.compute_dtype),
    sharding=batch_sharding,
  )
  flags = jax.ShapeDtypeStruct(
    (config.batch_size,), jnp.bool_, sharding=batch_sharding
  )
  batch = batch_lib.of(config, audio=audio, target=audio, denoise=flags)
  return step, (state, batch)


@flax.struct.dataclass
class _Part:
  """What of the global batch one microbatch is."""

  examples: batch_lib.Batch
  rows: Array  # [b] int32, where in the global batch
  depths: Array  # [b] int32, quantizer layers per example


@flax.struct.dataclass
class _Result:
  """What comes of a microbatch; all of it adds up over microbatches."""

  gradient: Any  # of the generator
  disc_gradient: Any
  statistics: quantizer.Statistics
  metrics: dict[str, Array]
  not_finite: Array  # [8] int32, for the first terms of CHECKED


def _step_function(
  config: config_lib.Config, mesh: Mesh, *, adversarial: bool = True
):
  generator_optimizer, discriminator_optimizer = optimizer.build(
    config.optimizer
  )
  differentiate = _differentiator(config, mesh, adversarial=adversarial)
  threshold = config.quantizer.revival_threshold

  def step(state: state_lib.TrainState, batch: batch_lib.Batch):
    whole, candidates = _draw(config, mesh, state.step, batch)
    sums = microbatches.total(
      lambda part: differentiate(state, part, candidates),
      whole,
      count=config.microbatches,
      place=sharding.batch(mesh),
    )
    # Losses are means over examples, codebook statistics are sums.
    gradient, disc_gradient, metrics = jax.tree.map(
      lambda leaf: leaf / config.microbatches,
      (sums.gradient, sums.disc_gradient, sums.metrics),
    )
    gradient = _named_gradient("generator", gradient)
    disc_gradient = _named_gradient("discriminator", disc_gradient)
    generator_norm = optax.tree.norm(gradient)
    discriminator_norm = optax.tree.norm(disc_gradient)
    bad_term = _first_bad(
      jnp.concatenate(
        [sums.not_finite, _not_finite(generator_norm, discriminator_norm)]
      )
    )
    params, opt_state = optimizer.apply(
      generator_optimizer, gradient, state.opt_state, state.params
    )
    disc_params, disc_opt_state = state.disc_params, state.disc_opt_state
    if adversarial:
      disc_params, disc_opt_state = optimizer.apply(
        discriminator_optimizer, disc_gradient, disc_opt_state, disc_params
      )
    codebooks = codebook.revive(
      codebook.update(
        state.codebooks, sums.statistics, decay=config.quantizer.ema_decay
      ),
      sums.statistics,
      threshold=threshold,
    )
    updated = state.replace(
      params=params,
      ema_params=optimizer.average(
        state.ema_params, params, state.step, decay=config.optimizer.ema_decay
      ),
      codebooks=codebooks,
      opt_state=opt_state,
      disc_params=disc_params,
      disc_opt_state=disc_opt_state,
    )
    # One global scalar decides for both networks and the codebooks.
    good = bad_term < 0
    new_state = jax.tree.map(
      lambda new, old: jnp.where(good, new, old), updated, state
    ).replace(
      step=state.step + 1,
      bad_steps=jnp.where(good, 0, state.bad_steps + 1),
    )
    counts = new_state.codebooks.counts
    metrics |= {
      "gradient_norm/generator": generator_norm,
      "gradient_norm/discriminator": discriminator_norm,
      "codebook/perplexity": codebook_use.perplexity(counts),
      "codebook/dead": codebook_use.dead_fraction(counts, threshold=threshold),
      "bad/term": bad_term,
      "bad/steps": new_state.bad_steps,
    }
    return new_state, metrics

  return step


def _draw(
  config: config_lib.Config, mesh: Mesh, step: Array, batch: batch_lib.Batch
) -> tuple[_Part, quantizer.Candidates]:
  """Everything random of a step, drawn for the whole global batch at once."""
  root = rng.root(config.seed)
  num_quantizers = config.quantizer.num_quantizers
  size, samples, _ = batch.audio.shape
  if config.quantizer.dropout:
    depths = quantizer.draw_depths(
      rng.stream(root, "quantizer_dropout", step), size, num_quantizers
    )
  else:
    depths = jnp.full((size,), num_quantizers, jnp.int32)
  # Every device draws all of them: one that drew its own examples' would have
  # to gather the others' to sort them.
  depths = lax.with_sharding_constraint(depths, sharding.replicated(mesh))
  candidates = quantizer.draw_candidates(
    rng.stream(root, "revival", step),
    depths,
    num_quantizers=num_quantizers,
    num_frames=config.rates.num_frames(samples),
    num_candidates=config.quantizer.revival_candidates,
  )
  rows = jnp.arange(size, dtype=jnp.int32)
  return _Part(examples=batch, rows=rows, depths=depths), candidates


def _differentiator(config: config_lib.Config, mesh: Mesh, *, adversarial):
  """Returns the function (state, part, candidates) -> _Result."""
  platform = sharding.platform(mesh)
  net = soundstream.from_config(config, platform=platform)
  discriminators = state_lib.discriminator_module(config, platform=platform)

  def differentiate(state, part, candidates) -> _Result:
    heard, target, denoise = part.examples
    target = heard if target is None else target

    def generate(params):
      output = net.apply(
        soundstream.variables(params, state.codebooks.vectors),
        heard,
        denoise=denoise,
        depths=part.depths,
        candidates=candidates,
        rows=part.rows,
        parts=mesh.size,
      )
      return (output.audio, output.commitment), output

    (recon, commitment), pull_generator, output = jax.vjp(
      generate, state.params, has_aux=True
    )
    (_, rec_metrics), recon_gradient = jax.value_and_grad(
      lambda x: objective.reconstruction(
        config.loss, config.audio.sample_rate_hz, target, x
      ),
      has_aux=True,
    )(recon)
    (_, commit_metrics), commit_gradient = jax.value_and_grad(
      lambda x: objective.commitment(config.loss, x), has_aux=True
    )(commitment)

    disc_gradient, adv_gradient, adv_metrics = {}, jnp.zeros_like(recon), {}
    if adversarial:
      disc_gradient, adv_gradient, adv_metrics = _adversarial_gradients(
        config, discriminators, state.disc_params, target, recon
      )
    (gradient,) = pull_generator(
      (recon_gradient + adv_gradient, commit_gradient)
    )
    zeros = {name: jnp.zeros((), recon.dtype) for name in ADVERSARIAL}
    metrics = zeros | rec_metrics | commit_metrics | adv_metrics
    return _Result(
      gradient=gradient,
      disc_gradient=disc_gradient,
      statistics=output.statistics,
      metrics=metrics,
      not_finite=_not_finite(
        part.examples,
        output.latents,
        recon,
        commitment,
        output.statistics.sums,
        metrics["loss/reconstruction"],
        metrics["loss/adversarial"] + metrics["loss/feature"],
        metrics["loss/discriminator"],
      ),
    )

  return differentiate


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


def _named_gradient(name: str, gradient):
  """Names a gradient in the program, for traces and for fault injection."""
  with jax.named_scope(f"{name}_gradient"):
    return gradient


def _not_finite(*values) -> Array:
  """1 for each tree that holds a NaN or an infinity, 0 for the others."""

  def all_finite(tree):
    leaves = jax.tree.leaves(tree)
    return jnp.all(jnp.stack([jnp.all(jnp.isfinite(leaf)) for leaf in leaves]))

  finite = jnp.stack([all_finite(value) for value in values])
  return 1 - finite.astype(jnp.int32)


def _first_bad(not_finite: Array) -> Array:
  """Index into CHECKED of the first bad term, -1 if there is none."""
  return jnp.where(
    jnp.any(not_finite > 0), jnp.argmax(not_finite > 0), -1
  ).astype(jnp.int32)
