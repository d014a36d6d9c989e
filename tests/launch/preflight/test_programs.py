"""Laws of the programs of a run: which there are, and that training runs them."""

import json
import subprocess
import sys

import jax
import numpy as np
import pytest

from soundstream_jax import errors
from soundstream_jax.devices import distributed
from soundstream_jax.launch.preflight import (
  lowered_text,
  programs,
  topologies,
)
from soundstream_jax.train import kmeans_start, validation
from soundstream_jax.train import state as state_lib

CPU = topologies.parse("cpu:8")
KMEANS, EVALUATION = programs.GROUPS["kmeans"], programs.GROUPS["evaluation"]


@pytest.mark.parametrize(
  ("fields", "needed"),
  [
    ({}, ("step", *KMEANS, *EVALUATION)),
    (
      {"discriminator.start_step": 5},
      ("step", "step_without_discriminators", *KMEANS, *EVALUATION),
    ),
    (
      {"discriminator.wave_scales": 0, "discriminator.stft_channels": 0},
      ("step_without_discriminators", *KMEANS, *EVALUATION),
    ),
    ({"quantizer.kmeans_batches": 0}, ("step", *EVALUATION)),
  ],
)
def test_a_run_needs_what_its_configuration_says(small_config, fields, needed):
  config = small_config(**fields)
  assert tuple(programs.names(config, ["all"])) == needed
  assert programs.names(config, ["step"]) == [needed[0]]
  # In the order of a run, each once.
  asked = ["evaluation", "evaluation_decode", "step"]
  assert programs.names(config, asked) == [needed[0], *EVALUATION]


def test_a_program_that_is_none_is_refused_in_one_line(small_config):
  for asked, fields, said in (
    ("kmean", {}, "'kmean' is none of step, "),
    ("kmean", {}, "Did you mean 'kmeans'?"),
    (
      "kmeans",
      {"quantizer.kmeans_batches": 0},
      "has none, as it has no k-means",
    ),
  ):
    with pytest.raises(errors.InputError) as refused:
      programs.names(small_config(**fields), [asked])
    assert str(refused.value).startswith(f"--program={asked}: ")
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)
  with pytest.raises(errors.InputError, match="names none"):
    programs.names(small_config(), [])


@pytest.fixture(scope="module")
def lowered(small_config):
  config = small_config(
    **{"mesh.data": -1, "batch_size": 8, "quantizer.kmeans_batches": 2}
  )
  return config, {
    name: programs.lower(config, CPU, name) for name in (*KMEANS, *EVALUATION)
  }


def test_programs_have_the_shapes_that_training_gives_them(lowered):
  config, found = lowered
  rates, q = config.rates, config.quantizer
  frames = rates.num_frames(config.data.crop_samples)
  assert found["kmeans_latents"].examples == 8
  assert found["kmeans_fit"].examples == 16
  outputs = jax.tree.leaves(found["kmeans_latents"].lowered.out_info)
  assert [o.shape for o in outputs] == [(8, frames, config.model.embedding_dim)]
  vectors = found["kmeans_fit"].lowered.out_info.vectors
  assert vectors.shape == found["kmeans_fit"].state.codebooks.vectors.shape
  clip = config.evaluation.clip_samples
  for name in EVALUATION:
    assert found[name].samples == clip
    assert found[name].examples % found[name].devices == 0
  rows = found["evaluation_encode"].examples
  codes, _ = found["evaluation_encode"].lowered.out_info
  assert codes.shape == (rows, rates.num_frames(clip), q.num_quantizers)
  assert found["evaluation_decode"].lowered.out_info.shape == (rows, clip, 1)


def test_their_work_grows_with_their_sound(lowered):
  """Both encode; clips are longer than crops."""
  _, found = lowered
  flops = {
    name: lowered_text.read(one.lowered.as_text(debug_info=True)).flops
    for name, one in found.items()
  }
  assert all(flops.values())
  crop, clip = (
    found[name].examples * found[name].samples
    for name in ("kmeans_latents", "evaluation_encode")
  )
  assert (clip > crop) == (flops["evaluation_encode"] > flops["kmeans_latents"])


def test_the_rest_of_the_state_stays_in_memory(lowered):
  _, found = lowered
  state = found["kmeans_fit"].state
  size = lambda tree: 4 * sum(x.size for x in jax.tree.leaves(tree))  # noqa: E731
  whole = size(state)
  encoder = size((state.params, state.codebooks.vectors))
  assert found["kmeans_latents"].kept_bytes == whole - encoder
  assert found["evaluation_decode"].kept_bytes == whole - encoder
  assert 0 < found["kmeans_fit"].kept_bytes < whole


def test_training_calls_the_programs_that_are_lowered(
  small_config, monkeypatch
):
  config = small_config(batch_size=2, **{"quantizer.kmeans_batches": 1})
  mesh = distributed.make_mesh(config.mesh)
  called = []

  def spied(function, name):
    def call(*arguments):
      called.append(name)
      return function(*arguments)

    return call

  make = kmeans_start.programs
  monkeypatch.setattr(
    kmeans_start,
    "programs",
    lambda *given, **options: [
      spied(one, name)
      for one, name in zip(make(*given, **options), KMEANS, strict=True)
    ],
  )
  shardings = jax.tree.map(
    lambda _: jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec()),
    state_lib.abstract(config),
  )
  state = state_lib.init(config, shardings)
  audio = np.zeros((2, config.data.crop_samples, 1), np.float32)
  kmeans_start.initialise(config, mesh, state, [audio])
  assert called == list(KMEANS)
  # Of validation the jitted functions are fields: what is called is lowered.
  clips = np.zeros((2, config.evaluation.clip_samples, 1), np.float32)
  built = validation.build(config, clips, mesh)
  assert built.encode.lower and built.decode.lower


def test_the_command_reports_on_several_programs(small_overrides, tmp_path):
  fields = small_overrides | {"mesh.data": -1, "batch_size": 2}
  done = subprocess.run(
    [
      *(sys.executable, "-m", "soundstream_jax.launch.preflight"),
      *("--config=tiny", "--topology=cpu:2", "--cache="),
      *("--program=evaluation", f"--json={tmp_path / 'report.json'}"),
      *(f"--config.{name}={value}" for name, value in fields.items()),
    ],
    capture_output=True,
    text=True,
    check=False,
  )
  assert done.returncode == 0, done.stderr
  for title in ("evaluation: clips to codes", "evaluation: codes to sound"):
    assert f"program                    {title}" in done.stdout
  assert "rest of the state" in done.stdout
  report = json.loads((tmp_path / "report.json").read_text())
  assert list(report["programs"]) == list(EVALUATION)
  assert all(one["flops"] > 0 for one in report["programs"].values())
  assert report["fits"] is None
