"""Finds the first NaN or infinity of a step, and skips the step if there is one.

A skipped step leaves everything that learns as it was. What follows a row of
skipped steps is decided outside the compiled step: `progress` counts them, and
`rollback` returns to a checkpoint.
"""

import jax
import jax.numpy as jnp

from soundstream_jax.train import state as state_lib

# What is checked, in the order of the data's flow: the first bad one is the
# one to report. `gradients` checks all but the last two, which are those of
# the whole batch.
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


def not_finite(*values) -> jax.Array:
  """1 for each tree that holds a NaN or an infinity, 0 for the others."""

  def all_finite(tree):
    leaves = jax.tree.leaves(tree)
    return jnp.all(jnp.stack([jnp.all(jnp.isfinite(leaf)) for leaf in leaves]))

  finite = jnp.stack([all_finite(value) for value in values])
  return 1 - finite.astype(jnp.int32)


def first_bad(flags: jax.Array) -> jax.Array:
  """Returns the index of the first flag that is set, -1 if there is none.

  Args:
    flags: [10] int32 of `not_finite`, for the terms of CHECKED.
  """
  return jnp.where(jnp.any(flags > 0), jnp.argmax(flags > 0), -1).astype(
    jnp.int32
  )


def skip_if_bad(
  bad_term: jax.Array,
  updated: state_lib.TrainState,
  state: state_lib.TrainState,
) -> state_lib.TrainState:
  """Returns the updated state, or after a bad step the old one; counts both.

  One global scalar decides for both networks and the codebooks.

  Args:
    bad_term: of `first_bad`.
    updated: the state with every update of this step.
    state: from before the step.
  """
  good = bad_term < 0
  return jax.tree.map(
    lambda new, old: jnp.where(good, new, old), updated, state
  ).replace(
    step=state.step + 1,
    bad_steps=jnp.where(good, 0, state.bad_steps + 1),
  )
