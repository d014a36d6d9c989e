"""A step is compiled once, and the log says what that took."""

import logging

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from soundstream_jax.devices import gpu_flags
from soundstream_jax.train import compiled


def test_compiles_once_on_the_first_call_and_says_what_memory_it_takes(caplog):
  traced = []

  def step(state, audio):
    traced.append(1)
    return state + jnp.sum(jnp.sin(audio)), {"x": audio}

  shape = jax.ShapeDtypeStruct((1 << 20,), jnp.float32)
  function = compiled.Compiled(jax.jit(step), (shape, shape), name="the step")
  assert not traced
  audio = np.zeros(shape.shape, np.float32)
  with caplog.at_level(logging.INFO, logger="absl"):
    for _ in range(3):
      state, _ = function(np.ones_like(audio), audio)
  np.testing.assert_array_equal(state, np.ones_like(audio))
  assert len(traced) == 1
  (line,) = [r.getMessage() for r in caplog.records]
  # Two arguments and two results of 4 MiB.
  assert line.startswith("the step: compiled in ")
  assert " to compile)" in line
  assert "memory per device 0.02 GiB: 0.02 of state and batch" in line
  with pytest.raises(TypeError):
    function(audio[:5], audio[:5])


def test_a_cpu_compiles_at_its_first_level_unless_the_user_says_otherwise(
  monkeypatch,
):
  monkeypatch.delenv("XLA_FLAGS", raising=False)
  assert compiled.options("cpu") == {"xla_backend_optimization_level": 1}
  assert compiled.options("tpu") is None
  assert compiled.options("tpu", devices=4) is None
  monkeypatch.setenv("XLA_FLAGS", "--xla_backend_optimization_level=3")
  assert compiled.options("cpu") is None


def test_a_gpus_step_gets_the_flags_of_gpus(monkeypatch):
  monkeypatch.delenv("XLA_FLAGS", raising=False)
  assert compiled.options("gpu", devices=8) == gpu_flags.options("gpu", 8)


def test_the_log_says_whether_a_program_came_from_the_cache(caplog):
  def make():
    step = jax.jit(lambda x: jnp.cos(x) + 3)
    shape = jax.ShapeDtypeStruct((7,), jnp.float32)
    return compiled.Compiled(step, (shape,), name="one", details="as told")

  # However quick it was, it is kept.
  name = "jax_persistent_cache_min_compile_time_secs"
  before = getattr(jax.config, name)
  jax.config.update(name, 0)
  try:
    with caplog.at_level(logging.INFO, logger="absl"):
      for _ in range(2):
        make().compile()
        jax.clear_caches()
  finally:
    jax.config.update(name, before)
  first, second = [r.getMessage() for r in caplog.records]
  assert " to compile, as told)" in first
  assert " from the cache, as told)" in second
