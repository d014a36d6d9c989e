"""Laws of the preflight, and of what a training step may communicate."""

import dataclasses
import importlib.util
import json
import re
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from soundstream_jax.devices import distributed
from soundstream_jax.launch.preflight import (
  program_cost,
  programs,
  step_report,
  table,
  topologies,
)
from soundstream_jax.train import step as step_lib

CPU = topologies.parse("cpu:8")


class _Compiled:
  """The step over 8 devices: its state, and what it costs."""

  def __init__(self, config):
    mesh = distributed.make_mesh(config.mesh)
    step, (self.state, audio) = step_lib.build(config, mesh)
    self.cost = program_cost.of(
      step.lower(self.state, audio).compile().as_text()
    )


@pytest.fixture(scope="module")
def wide(small_config):
  return {
    batch: _Compiled(small_config(**{"mesh.data": 8, "batch_size": batch}))
    for batch in (8, 16)
  }


def _bytes(tree):
  return 4 * sum(leaf.size for leaf in jax.tree.leaves(tree))


@pytest.fixture(scope="module")
def as_written(small_config):
  return _Compiled(
    small_config(**{"mesh.data": 8, "batch_size": 8, "form": "plain"})
  )


def _sums(compiled, config):
  """Bytes of gradients and statistics, which every device must know."""
  q, state = config.quantizer, compiled.state
  dim = state.codebooks.vectors.shape[-1]
  statistics = 4 * q.num_quantizers * q.codebook_size * (dim + 1)
  candidates = 4 * q.num_quantizers * q.revival_candidates * dim
  # The discriminators' gradients for real and for decoded audio are summed over
  # devices apart here; compilers for TPUs and GPUs add them first.
  gradients = _bytes(state.params) + 2 * _bytes(state.disc_params)
  return gradients + statistics + candidates


def test_a_step_sums_gradients_and_statistics_over_devices(
  as_written, small_config
):
  np.testing.assert_allclose(
    as_written.cost.collective_bytes()["all-reduce"],
    _sums(as_written, small_config()),
    rtol=0.01,
  )


def test_a_fast_form_sums_twice_that_at_most_and_nothing_else(
  wide, small_config
):
  """Kernels of merged groups and folded strides are summed with their zeros."""
  sums = _sums(wide[8], small_config())
  communicated = wide[8].cost.collective_bytes()
  assert set(communicated) == {"all-reduce"}
  assert sums <= communicated["all-reduce"] <= 2 * sums


def test_what_is_communicated_does_not_grow_with_the_batch(wide):
  assert wide[8].cost.collective_bytes() == wide[16].cost.collective_bytes()
  assert wide[8].cost.flops < wide[16].cost.flops


def test_no_sum_over_devices_waits_inside_a_loop(wide):
  assert {c.rounds for c in wide[8].cost.collectives} == {1}


def test_preflight_lowers_the_object_that_training_calls(
  small_config, monkeypatch
):
  build, built = step_lib.build, []

  class Spy:
    def lower(self, *arguments):
      return self, arguments

  def spied(config, mesh, **options):
    step, arguments = build(config, mesh, **options)
    assert step.lower  # what jax.jit returns
    built.append((Spy(), arguments))
    return built[-1]

  monkeypatch.setattr(step_lib, "build", spied)
  config = small_config(**{"mesh.data": 8, "batch_size": 8})
  program = programs.lower(config, CPU, "step")
  lowered, given = program.lowered
  assert lowered is built[0][0]
  assert given == built[0][1]
  assert program.state is given[0]
  assert len(built) == 1


@pytest.fixture
def tiny_program(monkeypatch):
  """In place of the step: its shapes, and a program that compiles at once."""
  compiled = []

  def lower(config, topology, name):
    mesh = distributed.make_mesh(config.mesh, topologies.devices(topology))
    _, arguments = step_lib.build(config, mesh)
    compiled.append(name)

    def program(state, batch):
      return jnp.sum(batch.audio) * jnp.sum(state.codebooks.vectors)

    return programs.Program(
      name=name,
      lowered=jax.jit(program).lower(*arguments),
      devices=mesh.size,
      examples=config.batch_size,
      samples=config.data.crop_samples,
      state=arguments[0],
      kept_bytes=0,
    )

  monkeypatch.setattr(programs, "lower", lower)
  return compiled


def test_a_report_is_kept_per_program_and_topology(
  tiny_program, small_config, tmp_path, monkeypatch, capsys
):
  config = small_config(**{"mesh.data": -1, "batch_size": 8})
  report = step_report.examine(config, CPU, cache=tmp_path)
  assert report["devices"] == 8
  assert json.loads(json.dumps(report)) == report
  assert step_report.examine(config, CPU, cache=tmp_path) == report
  assert "from the cache" in capsys.readouterr().err
  assert len(list(tmp_path.iterdir())) == 1
  step_report.examine(config, topologies.parse("cpu:4"), cache=tmp_path)
  assert len(list(tmp_path.iterdir())) == 2
  monkeypatch.setattr(step_report, "VERSION", step_report.VERSION + 1)
  step_report.examine(config, CPU, cache=tmp_path)
  assert len(list(tmp_path.iterdir())) == 3
  step_report.examine(config, CPU)
  assert len(list(tmp_path.iterdir())) == 3


def test_what_does_not_fit_is_said(tiny_program, small_config, monkeypatch):
  class Lowered:
    def as_text(self):
      return ""

    def compile(self, compiler_options):
      raise RuntimeError(
        "RESOURCE_EXHAUSTED: XLA:TPU compile permanent error. Ran out of "
        "memory in memory space hbm. Used 20.00G of 15.75G hbm. Exceeded."
      )

  lower = programs.lower
  monkeypatch.setattr(
    programs,
    "lower",
    lambda *args: dataclasses.replace(lower(*args), lowered=Lowered()),
  )
  report = step_report.examine(small_config(batch_size=8), CPU)
  assert report["fits"] is False
  assert "NO: Used 20.00G of 15.75G hbm" in table.render(report)


def _run(*arguments, **options):
  command = [sys.executable, "-m", "soundstream_jax.launch.preflight"]
  return subprocess.run(
    [*command, *arguments], capture_output=True, text=True, **options
  )


def test_the_command_prints_a_table_and_writes_json(small_overrides, tmp_path):
  fields = small_overrides | {"mesh.data": -1, "batch_size": 8}
  done = _run(
    "--config=tiny",
    "--topology=cpu:2",
    "--noadversarial",
    "--compare_forms",
    f"--json={tmp_path / 'report.json'}",
    f"--cache={tmp_path / 'kept'}",
    *(f"--config.{name}={value}" for name, value in fields.items()),
  )
  assert done.returncode == 0, done.stderr
  for words in (
    r"topology +cpu:2, data 2 x fsdp 1",
    r"batch +8, 4 per device",
    r"fits +no limit known: .* per device",
    r"FLOPs per device +\d",
    r"per second of audio +\d",
    r"collectives +.* per device; parameters are",
    r"all-reduce +.* runs of \d+ instructions",
    r"compile time +\d+ s",
    r"against the form 'plain'\n  bytes +\d",
  ):
    assert re.search(words, done.stdout), words
  report = json.loads((tmp_path / "report.json").read_text())
  assert report["flops"] >= report["flops_loops_once"] > 0
  np.testing.assert_allclose(
    report["flops_loops_once"], report["flops_of_xla"], rtol=0.05
  )
  assert set(report["collective_bytes"]) == {"all-reduce"}
  assert report["config"]["form"] == "auto"
  assert report["plain"]["config"]["form"] == "plain"
  assert report["plain"]["flops"] != report["flops"]


@pytest.mark.parametrize(
  ("arguments", "line"),
  [
    ([], "--topology is missing"),
    (
      ["--topology=v5x:2x2"],
      "'v5x' is none of v4, v5e, v5p, v6e, a100, h100, h200, b200, cpu.",
    ),
    (
      ["--topology=v5e:2"],
      "there is no such slice; those of v5e have 2 axes. Use",
    ),
    (["--topology=cpu:8x2"], "'8x2' is no number of devices."),
    (["--topology=cpu:8", "--config.batch_size=6"], "not a multiple of the 8"),
    (["--topology=cpu:2", "--config.mesh.fsdp=3"], "do not cover the 2"),
  ],
)
def test_bad_input_is_one_line(arguments, line):
  done = _run("--config=tiny", *arguments)
  assert done.returncode == 2
  assert len(done.stderr.splitlines()) == 1
  assert line in done.stderr


def test_without_a_tpus_compiler_the_line_says_what_to_install(monkeypatch):
  monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
  with pytest.raises(
    ValueError, match=r"needs libtpu.*pip install 'soundstream_jax\[tpu\]'"
  ):
    topologies.prepare(topologies.parse("v5e:2x2"))


TPU_PROGRAM = """
import json, sys
from soundstream_jax.launch.preflight import program_cost, topologies
topology = topologies.parse("v5e:2x2")
topologies.prepare(topology)
import jax, jax.numpy as jnp
from jax.sharding import NamedSharding, PartitionSpec
from soundstream_jax import config
from soundstream_jax.devices import distributed
mesh = distributed.make_mesh(config.Mesh(), topologies.devices(topology))
def scanned(stack, x):
  body = lambda h, w: (jnp.tanh(h @ w), None)
  return jnp.sum(jax.lax.scan(body, x, stack)[0])
def unrolled(stack, x):
  for w in stack:
    x = jnp.tanh(x @ w)
  return jnp.sum(x)
whole, split = (
  NamedSharding(mesh, PartitionSpec(*axes)) for axes in ((), (("data", "fsdp"),))
)
for f in (scanned, unrolled):
  step = jax.jit(jax.grad(f), in_shardings=(whole, split), out_shardings=whole)
  shapes = ((8, 256, 256), (512, 256))
  arguments = [jax.ShapeDtypeStruct(s, jnp.float32) for s in shapes]
  cost = program_cost.of(step.lower(*arguments).compile().as_text())
  print(json.dumps([cost.flops, cost.cycles, cost.collective_bytes()]))
"""


@pytest.mark.slow
@pytest.mark.skipif(
  importlib.util.find_spec("libtpu") is None,
  reason="needs libtpu (extra 'tpu'), 700 MB, too large for the extra 'test'",
)
def test_a_scanned_program_counts_as_much_as_the_unrolled_one_on_a_tpu():
  done = subprocess.run(
    [sys.executable, "-c", TPU_PROGRAM], capture_output=True, text=True
  )
  assert done.returncode == 0, done.stderr
  loop, line = (json.loads(text) for text in done.stdout.splitlines()[-2:])
  np.testing.assert_allclose(loop[0], line[0], rtol=0.05)
  assert loop[1] > 0
  assert line[1] > 0
  assert loop[2] == line[2] == {"all-reduce": 4 * 8 * 256 * 256}


def test_a_cache_that_is_damaged_or_full_is_worth_no_failure(
  tmp_path, monkeypatch, capsys
):
  path = tmp_path / "cache" / "key.json"
  assert step_report._kept(path) is None
  step_report._keep(path, {"fits": True})
  assert step_report._kept(path) == {"fits": True}
  path.write_text('{"fits": tr')  # of a version that wrote in place
  assert step_report._kept(path) is None

  def full(_):
    raise OSError(28, "No space left on device")

  monkeypatch.setattr(step_report.whole_files, "sync", full)
  step_report._keep(path, {"fits": True})
  told = capsys.readouterr().err
  assert told.count("\n") == 1 and "No space left on device" in told
  assert list(path.parent.iterdir()) == [path]
