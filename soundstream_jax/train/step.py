"""One training step: gradients, then one update of everything that learns.

`gradients` has the losses and the way back through the networks; here their
results update both networks, the moving average and the codebooks, unless one
of them is bad.

All arrays are global: batch statistics are those of the global batch on any
number of devices, and no axis name appears in the model.
"""

import jax
import jax.numpy as jnp
import optax
from jax import lax
from jax.sharding import Mesh

from soundstream_jax import config as config_lib
from soundstream_jax import precision, rng
from soundstream_jax.data import batch as batch_lib
from soundstream_jax.devices import sharding
from soundstream_jax.metrics import codebook_use
from soundstream_jax.model import codebook, quantizer, quantizers
from soundstream_jax.train import (
  bad_steps,
  balance,
  compiled,
  gradients,
  microbatches,
  optimizer,
)
from soundstream_jax.train import state as state_lib

Array = jax.Array


def build(config: config_lib.Config, mesh: Mesh, *, adversarial: bool = True):
  """Builds the one training step of a configuration.

  Args:
    config: what to train.
    mesh: of `distributed.make_mesh`.
    adversarial: False is the step before discriminator.start_step, without
      discriminators. A program of its own: inside a conditional the
      discriminators took about five times as long on a CPU. It is that also
      where the configuration has no discriminators.

  Returns:
    (step, (state, batch)): the jitted function (state, batch) -> (state,
    metrics), which donates its state, and its abstract arguments with their
    shardings. The batch has the fields that `batch.of` keeps; metrics are
    flat float32 scalars, or [Q] for the codebooks'.

  Raises:
    InputError: the batch does not divide by the devices.
  """
  sharding.check_batch(
    config.batch_size, mesh, microbatches=config.microbatches
  )
  adversarial = adversarial and config.discriminator.exists
  abstract_state = state_lib.abstract(config)
  state_shardings = sharding.of_tree(abstract_state, mesh)
  batch_sharding = sharding.batch(mesh)
  step = jax.jit(
    _step_function(config, mesh, adversarial=adversarial),
    in_shardings=(state_shardings, batch_sharding),
    out_shardings=(state_shardings, sharding.replicated(mesh)),
    donate_argnums=(0,),
    compiler_options=compiled.options(
      sharding.platform(mesh), devices=mesh.size
    ),
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


def _step_function(
  config: config_lib.Config, mesh: Mesh, *, adversarial: bool = True
):
  differentiate = gradients.differentiator(
    config, mesh, adversarial=adversarial
  )
  update = _updater(config, adversarial=adversarial)

  def step(state: state_lib.TrainState, batch: batch_lib.Batch):
    whole, candidates = _draw(config, mesh, state.step, batch)
    sums = microbatches.total(
      lambda microbatch: differentiate(state, microbatch, candidates),
      whole,
      count=config.microbatches,
      place=sharding.batch(mesh),
    )
    # Losses are means over examples, codebook statistics are sums.
    gradient, disc_gradient, measured, metrics = jax.tree.map(
      lambda leaf: leaf / config.microbatches,
      (sums.generator, sums.discriminator, sums.measured, sums.metrics),
    )
    gradient = _named_gradient("generator", gradient)
    disc_gradient = _named_gradient("discriminator", disc_gradient)
    norms = {
      "gradient_norm/generator": optax.tree.norm(gradient),
      "gradient_norm/discriminator": optax.tree.norm(disc_gradient),
    }
    learns = optimizer.discriminators_learn(config.discriminator, state.step)
    if learns is not None:  # the same on devices that do not compute it
      norm = norms["gradient_norm/discriminator"]
      norms["gradient_norm/discriminator"] = jnp.where(learns, norm, 0.0)
    checked = list(norms.values())
    if config.loss.balancer:
      checked[0] = (checked[0], measured.norms)  # which it learns from
    bad_term = bad_steps.first_bad(
      jnp.concatenate([sums.not_finite, bad_steps.not_finite(*checked)])
    )
    updated = update(state, gradient, disc_gradient, sums.statistics, learns)
    updated = updated.replace(
      balancer=balance.update(
        config, state.balancer, measured, adversarial=adversarial
      )
    )
    opt_states = {
      "generator": state.opt_state,
      "discriminator": state.disc_opt_state,
    }
    state = bad_steps.skip_if_bad(bad_term, updated, state)
    metrics |= optimizer.metrics(config, opt_states)
    metrics |= norms | balance.metrics(measured)
    metrics |= _codebook_metrics(config, state.codebooks.counts)
    metrics |= {"bad/term": bad_term, "bad/steps": state.bad_steps}
    return state, metrics

  return step


def _updater(config: config_lib.Config, *, adversarial: bool):
  """Returns (state, gradients of both networks, statistics, learns) -> state.

  `learns` is of `optimizer.discriminators_learn`.
  """
  generator_optimizer, discriminator_optimizer = optimizer.build(config)

  def update(state, gradient, disc_gradient, statistics, learns):
    params, opt_state = optimizer.apply(
      generator_optimizer, gradient, state.opt_state, state.params
    )
    disc_params, disc_opt_state = state.disc_params, state.disc_opt_state
    if adversarial:
      disc_params, disc_opt_state = optimizer.apply(
        discriminator_optimizer, disc_gradient, disc_opt_state, disc_params
      )
      if learns is not None:
        disc_params, disc_opt_state = jax.tree.map(
          lambda new, old: jnp.where(learns, new, old),
          (disc_params, disc_opt_state),
          (state.disc_params, state.disc_opt_state),
        )
    codebooks = _learn(config.quantizer, state.codebooks, statistics)
    return state.replace(
      params=params,
      ema_params=optimizer.average(
        state.ema_params, params, state.step, decay=config.optimizer.ema_decay
      ),
      codebooks=codebooks,
      opt_state=opt_state,
      disc_params=disc_params,
      disc_opt_state=disc_opt_state,
    )

  return update


def _learn(
  config: config_lib.Quantizer,
  codebooks: codebook.Codebooks,
  statistics: quantizer.Statistics,
) -> codebook.Codebooks:
  if not quantizers.of(config).learns:
    return codebook.count(codebooks, statistics, decay=config.ema_decay)
  return codebook.revive(
    codebook.update(codebooks, statistics, decay=config.ema_decay),
    statistics,
    threshold=config.revival_threshold,
  )


def _codebook_metrics(
  config: config_lib.Config, counts: Array
) -> dict[str, Array]:
  # Without revival codes die all the same: by the default's measure.
  threshold = (
    config.quantizer.revival_threshold
    or config_lib.Quantizer().revival_threshold
  )
  return {
    "codebook/perplexity": codebook_use.perplexity(counts),
    "codebook/dead": codebook_use.dead_fraction(counts, threshold=threshold),
  }


def _draw(
  config: config_lib.Config, mesh: Mesh, step: Array, batch: batch_lib.Batch
) -> tuple[gradients.Microbatch, quantizer.Candidates]:
  """Draws everything random of a step, for the whole global batch at once."""
  root = rng.root(config.seed)
  num_quantizers = config.quantizer.num_quantizers
  size, samples, _ = batch.audio.shape
  if config.quantizer.dropout:
    depths = quantizer.draw_depths(
      rng.stream(root, "quantizer_dropout", step),
      size,
      num_quantizers,
      probability=config.quantizer.dropout_probability,
      depths=config.quantizer.dropout_depths,
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
  bypass = None
  if config.quantizer.bypass_probability:
    key = rng.stream(root, "quantizer_bypass", step)
    bypass = jax.random.bernoulli(
      key, config.quantizer.bypass_probability, (size,)
    )
  whole = gradients.Microbatch(
    examples=batch, rows=rows, depths=depths, bypass=bypass
  )
  return whole, candidates


def _named_gradient(name: str, gradient):
  """Names a gradient in the program, for traces and for fault injection."""
  with jax.named_scope(f"{name}_gradient"):
    return gradient
