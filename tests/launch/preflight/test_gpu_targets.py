"""Laws of the GPUs that can be compiled for: names, hosts, descriptions."""

import importlib.util
import re
import subprocess
import sys

import pytest

from soundstream_jax import errors
from soundstream_jax.launch.preflight import gpu_targets, topologies


@pytest.mark.parametrize("kind", gpu_targets.GPUS)
@pytest.mark.parametrize(
  ("size", "hosts", "devices"),
  [("1", 1, 1), ("8", 1, 8), ("2x8", 2, 16), ("128x4", 128, 512)],
)
def test_a_topology_is_so_many_gpus_of_so_many_hosts(
  kind, size, hosts, devices
):
  topology = topologies.parse(f"{kind}:{size}")
  assert (topology.hosts, topology.size) == (hosts, devices)
  assert topology.gpu is gpu_targets.GPUS[kind]
  assert topology.chip is None
  assert topology.memory_bytes == topology.gpu.memory_bytes > 80e9


@pytest.mark.parametrize(
  ("name", "said"),
  [
    (
      "h100:16",
      "a host has at most 8 GPUs. Write hosts and GPUs of each, as in h100:2x8.",
    ),
    ("h100:2x9", "as in h100:3x8."),
    ("a100:0", "'0' is no number of GPUs. Write it as in a100:8, or a100:2x8"),
    ("h200:", "'' is no number of GPUs."),
    ("h100", "'' is no number of GPUs."),
    ("b200:1x2x8", "'1x2x8' is no number of GPUs."),
    ("h100:-8", "'-8' is no number of GPUs."),
    (
      "h10:8",
      "is none of v4, v5e, v5p, v6e, a100, h100, h200, b200, cpu. Did you mean 'h100'?",
    ),
    ("gpu:8", "'gpu' is none of"),
  ],
)
def test_a_name_that_is_none_is_refused_in_one_line(name, said):
  with pytest.raises(errors.InputError) as refused:
    topologies.parse(name)
  assert str(refused.value).startswith(f"--topology={name}: ")
  assert said in str(refused.value)
  assert "\n" not in str(refused.value)


def test_a_description_has_every_number_of_its_gpu():
  for gpu in gpu_targets.GPUS.values():
    text = gpu_targets.target_config(gpu)
    fields = dict(re.findall(r"^ *(\w+): (\S+)$", text, re.MULTILINE))
    assert int(fields["core_count"]) == gpu.cores
    assert int(fields["memory_bandwidth"]) == gpu.memory_bandwidth
    assert int(fields["device_memory_size"]) == gpu.memory_bytes
    assert f"major: {gpu.capability[0]}" in text
    assert gpu.description in text
    assert text.count("{") == text.count("}")


def test_rates_are_those_of_the_units():
  """Tensor cores' multiply-adds a clock, by NVIDIA's whitepapers, boosted."""
  for kind, each, boost in (
    ("a100", 1024, 1.41e9),
    ("h100", 2048, 1.83e9),
    ("b200", 4096, 1.85e9),
  ):
    gpu = gpu_targets.GPUS[kind]
    peak = 2 * gpu.cores * each * boost
    assert abs(peak / gpu.peak_flops - 1) < 0.01, kind


def test_without_the_compiler_the_line_says_what_to_install(monkeypatch):
  monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
  with pytest.raises(errors.InputError) as refused:
    topologies.prepare(topologies.parse("h100:8"))
  said = str(refused.value)
  assert "needs jax-cuda12-plugin" in said
  assert "pip install 'soundstream_jax[preflight-gpu]'" in said
  assert "in an environment of its own" in said
  assert "\n" not in said


def test_the_command_says_so_before_it_loads_jax():
  if topologies.has_gpu_compiler():
    arguments = ["--topology=h100:1x1x8"]
  else:
    arguments = ["--topology=h100:8", "--config.batch_size=8"]
  done = subprocess.run(
    [
      *(sys.executable, "-m", "soundstream_jax.launch.preflight"),
      *("--config=tiny", *arguments),
    ],
    capture_output=True,
    text=True,
    check=False,
  )
  assert (done.returncode, done.stdout) == (2, "")
  assert done.stderr.count("\n") == 1
  assert done.stderr.startswith(f"error: {arguments[0]}")
