"""Flags for the compiler: on a CPU, and where the user sets no other."""

from soundstream_jax.devices import xla_flags


def test_a_cpu_gets_flags_that_the_user_did_not_set(monkeypatch):
  flags = {"xla_cpu_prefer_vector_width": 512, "xla_cpu_enable_fast_math": 0}
  monkeypatch.delenv("XLA_FLAGS", raising=False)
  assert xla_flags.on_cpus("cpu", **flags) == flags
  assert xla_flags.on_cpus("gpu", **flags) is None
  monkeypatch.setenv("XLA_FLAGS", "--xla_cpu_prefer_vector_width=256")
  assert xla_flags.on_cpus("cpu", **flags) == {"xla_cpu_enable_fast_math": 0}
  monkeypatch.setenv("XLA_FLAGS", " ".join(f"--{k}=1" for k in flags))
  assert xla_flags.on_cpus("cpu", **flags) is None
