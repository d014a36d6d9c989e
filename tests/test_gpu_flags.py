"""Flags of jobs on GPUs: for GPUs alone, and never over the user's."""

import pathlib

import jax
import pytest

from soundstream_jax.devices import gpu_flags

LATENCY = "xla_gpu_enable_latency_hiding_scheduler"


@pytest.fixture(autouse=True)
def _no_flags(monkeypatch):
  monkeypatch.delenv("XLA_FLAGS", raising=False)


@pytest.mark.parametrize("platform", ["cpu", "tpu"])
def test_other_platforms_get_none(platform):
  assert gpu_flags.options(platform, 8) is None
  assert gpu_flags.autotuning(platform) == ""


def test_what_helps_several_gpus_is_not_set_for_one():
  assert LATENCY not in gpu_flags.options("gpu", 1)
  assert gpu_flags.options("gpu", 2) == {
    **gpu_flags.options("gpu", 1),
    LATENCY: True,
  }


def test_the_users_flags_hold_and_the_log_has_theirs(monkeypatch):
  assert gpu_flags.autotuning("gpu") == "autotuning level 2"
  monkeypatch.setenv("XLA_FLAGS", f"--{gpu_flags.AUTOTUNING}=4 --{LATENCY}")
  assert gpu_flags.options("gpu", 8) is None
  assert gpu_flags.autotuning("gpu") == "autotuning level 4"


def test_a_flag_whose_name_begins_alike_is_another(monkeypatch):
  monkeypatch.setenv("XLA_FLAGS", f"--{gpu_flags.AUTOTUNING}_of_mine=4")
  assert gpu_flags.options("gpu", 1) == {gpu_flags.AUTOTUNING: 2}


def test_every_flag_has_a_reason_and_is_listed_once():
  flags = (*gpu_flags.ALWAYS, *gpu_flags.SEVERAL, *gpu_flags.LEFT)
  assert len({flag.name for flag in flags}) == len(flags)
  for flag in flags:
    assert flag.why.endswith((".", ")."))
    assert (flag.value is None) == (flag in gpu_flags.LEFT)


def test_jax_keeps_what_autotuning_found_beside_its_programs():
  # We set nothing because of this; by shape, for every program.
  kept = jax.config.jax_persistent_cache_enable_xla_caches
  assert "xla_gpu_per_fusion_autotune_cache_dir" in kept


def test_the_guide_has_every_flag():
  guide = pathlib.Path(__file__).parents[1] / "docs" / "training.md"
  text = guide.read_text()
  for flag in (*gpu_flags.ALWAYS, *gpu_flags.SEVERAL, *gpu_flags.LEFT):
    assert f"`{flag.name}`" in text, flag.name
