"""One training step: the only place where model, losses and optimizers meet.

Data flows through each network once. The generator runs forward and leaves its
pull-back; the discriminators run forward once on [real; reconstruction] and
leave theirs. From their outputs come two gradients: the discriminators' own,
and the generator's toward the reconstruction, which joins the spectral one and
is pulled back through the generator.

All arrays are global: batch statistics are those of the global batch on any
number of devices, and no axis name appears in the model.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh

from soundstream_jax import config as config_lib
from soundstream_jax import precision, rng, sharding
from soundstream_jax.losses import objective
from soundstream_jax.metrics import codebook_use
from soundstream_jax.model import (
  codebook,
  quantizer,
  soundstream,
)
from soundstream_jax.train import optimizer
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

# Metrics of a step without discriminators.
NO_ADVERSARY = dict.fromkeys(
  (
    "loss/adversarial",
    "loss/feature",
    "loss/discriminator",
    "discriminator/accuracy_real",
    "discriminator/accuracy_fake",
  ),
  np.float32(0),
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
    (step, (state, audio)): the jitted function (state, audio) -> (state,
    metrics), which donates its state, and its abstract arguments with their
    shardings. audio is [batch_size, crop_samples, 1]; metrics are flat
    float32 scalars, or [Q] for the codebooks'.

  Raises:
    InputError: the batch does not divide by the devices.
  """
  sharding.check_batch(config.batch_size, mesh)
  abstract_state = state_lib.abstract(config)
  state_shardings = sharding.of_tree(abstract_state, mesh)
  audio_sharding = sharding.batch(mesh)
  dtype = precision.of_parameters(config.model.compute_dtype)
  step = jax.jit(
    _step_function(config, adversarial=adversarial, mesh=mesh),
    in_shardings=(state_shardings, audio_sharding),
    out_shardings=(state_shardings, sharding.replicated(mesh)),
    donate_argnums=(0,),
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
    dtype,
    sharding=audio_sharding,
  )
  return step, (state, audio)


def _step_function(
  config: config_lib.Config,
  *,
  adversarial: bool = True,
  mesh: Mesh | None = None,
):
  net = soundstream.from_config(config)
  discriminators = state_lib.discriminator_module(config)
  generator_optimizer, discriminator_optimizer = optimizer.build(
    config.optimizer
  )
  num_quantizers = config.quantizer.num_quantizers

  def step(state: state_lib.TrainState, audio: Array):
    root = rng.root(config.seed)
    depths = None
    if config.quantizer.dropout:
      depths = quantizer.draw_depths(
        rng.stream(root, "quantizer_dropout", state.step),
        audio.shape[0],
        num_quantizers,
      )
      if mesh is not None:
        # Every device draws all of them: one that drew its own examples'
        # would have to gather the others' to sort them.
        depths = jax.lax.with_sharding_constraint(
          depths, sharding.replicated(mesh)
        )

    def generate(params):
      output = net.apply(
        soundstream.variables(params, state.codebooks.vectors),
        audio,
        depths=depths,
        key=rng.stream(root, "revival", state.step),
      )
      return (output.audio, output.commitment), output

    (recon, commitment), pull_generator, output = jax.vjp(
      generate, state.params, has_aux=True
    )
    (_, rec_metrics), recon_gradient = jax.value_and_grad(
      lambda x: objective.reconstruction(
        config.loss, config.audio.sample_rate_hz, audio, x
      ),
      has_aux=True,
    )(recon)
    (_, commit_metrics), commit_gradient = jax.value_and_grad(
      lambda x: objective.commitment(config.loss, x), has_aux=True
    )(commitment)

    disc_gradient, adv_gradient, adv_metrics = {}, jnp.zeros_like(recon), {}
    if adversarial:
      disc_gradient, adv_gradient, adv_metrics = _adversarial_gradients(
        config, discriminators, state.disc_params, audio, recon
      )
    (gradient,) = pull_generator(
      (recon_gradient + adv_gradient, commit_gradient)
    )
    gradient = _named_gradient("generator", gradient)
    disc_gradient = _named_gradient("discriminator", disc_gradient)

    metrics = NO_ADVERSARY | rec_metrics | commit_metrics | adv_metrics
    generator_norm = optax.tree.norm(gradient)
    discriminator_norm = optax.tree.norm(disc_gradient)
    bad_term = _first_bad(
      audio,
      output.latents,
      recon,
      commitment,
      output.statistics.sums,
      metrics["loss/reconstruction"],
      metrics["loss/adversarial"] + metrics["loss/feature"],
      metrics["loss/discriminator"],
      generator_norm,
      discriminator_norm,
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
        state.codebooks, output.statistics, decay=config.quantizer.ema_decay
      ),
      output.statistics,
      threshold=config.quantizer.revival_threshold,
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
      "codebook/dead": codebook_use.dead_fraction(
        counts, threshold=config.quantizer.revival_threshold
      ),
      "bad/term": bad_term,
      "bad/steps": new_state.bad_steps,
    }
    return new_state, metrics

  return step


def _adversarial_gradients(config, discriminators, disc_params, audio, recon):
  """One forward of the discriminators, two gradients.

  Returns:
    (gradient of the discriminator loss toward disc_params, gradient of the
    generator's adversarial and feature losses toward recon, metrics).
  """

  def discriminate(disc_params, recon):
    # Real and reconstruction of one example stay neighbours, so that a batch
    # split over devices compares them without moving features.
    pairs = jnp.stack([audio, recon.astype(audio.dtype)], axis=1)
    return discriminators.apply(
      {"params": disc_params}, pairs.reshape(-1, *audio.shape[1:])
    )

  def split(outputs):
    pairs = jax.tree.map(
      lambda leaf: leaf.reshape(-1, 2, *leaf.shape[1:]), outputs
    )
    return tuple(
      jax.tree.map(lambda leaf, half=half: leaf[:, half], pairs)
      for half in (0, 1)
    )

  outputs, pull = jax.vjp(discriminate, disc_params, recon)
  (_, disc_metrics), disc_cotangent = jax.value_and_grad(
    lambda o: objective.discriminator(*split(o)), has_aux=True
  )(outputs)
  (_, adv_metrics), adv_cotangent = jax.value_and_grad(
    lambda o: objective.adversarial(config.loss, *split(o)), has_aux=True
  )(outputs)
  disc_gradient, _ = pull(disc_cotangent)
  _, recon_gradient = pull(adv_cotangent)
  return disc_gradient, recon_gradient, disc_metrics | adv_metrics


def _named_gradient(name: str, gradient):
  """Names a gradient in the program, for traces and for fault injection."""
  with jax.named_scope(f"{name}_gradient"):
    return gradient


def _first_bad(*values) -> Array:
  """Index into CHECKED of the first value that is not finite, -1 if none."""
  finite = jnp.stack([jnp.all(jnp.isfinite(value)) for value in values])
  return jnp.where(
    jnp.all(finite), -1, jnp.argmin(finite.astype(jnp.int32))
  ).astype(jnp.int32)
