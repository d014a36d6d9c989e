"""Training in bfloat16 makes a float32 model, and old workdirs go on."""

import dataclasses
import json

import jax
import numpy as np
import pytest

from soundstream_jax import config as config_lib
from soundstream_jax import errors
from soundstream_jax.checkpoint import fingerprint, weights
from soundstream_jax.checkpoint import folder as folder_lib
from soundstream_jax.devices import distributed
from soundstream_jax.export import format as format_lib
from soundstream_jax.export import formats
from soundstream_jax.train import compiled, loop, validation
from soundstream_jax.train import state as state_lib
from soundstream_jax.train import step as step_lib


def _dtypes_of_convolutions(text: str) -> set[str]:
  """Returns the dtypes of what the convolutions of a lowered program return."""
  return {
    line.rpartition("tensor<")[2].partition(">")[0].rpartition("x")[2]
    for line in text.splitlines()
    if "stablehlo.convolution" in line
  }


def test_training_is_in_its_dtype_whichever_field_has_named_it(small_config):
  def lowered(**overrides):
    config = small_config(form="plain", **overrides)
    mesh = distributed.make_mesh(config.mesh, jax.devices()[:1])
    step, arguments = step_lib.build(config, mesh)
    return step.lower(*arguments).as_text()

  text = lowered(train_dtype="bfloat16")
  # The discriminators' too. Spectra are products, not convolutions.
  assert _dtypes_of_convolutions(text) == {"bf16"}
  assert text == lowered(**{"model.compute_dtype": "bfloat16"})


def test_what_training_keeps_is_float32_in_either(small_config):
  states = [
    state_lib.abstract(small_config(train_dtype=dtype))
    for dtype in ("", "bfloat16")
  ]
  assert jax.tree.map(lambda leaf: leaf.dtype, states[0]) == jax.tree.map(
    lambda leaf: leaf.dtype, states[1]
  )
  assert jax.tree.structure(states[0]) == jax.tree.structure(states[1])


@pytest.mark.parametrize("compute_dtype", ["float32", "bfloat16"])
def test_validation_computes_as_the_codec_will(small_config, compute_dtype):
  config = small_config(
    **{
      "train_dtype": "bfloat16",
      "model.compute_dtype": compute_dtype,
      "form": "plain",
    }
  )
  mesh = distributed.make_mesh(config.mesh, jax.devices()[:1])
  clips = np.zeros((2, config.evaluation.clip_samples, 1), np.float32)
  state = state_lib.abstract(config)
  encode = validation.build(config, clips, mesh).encode
  text = encode.lower(
    state.params,
    state.codebooks.vectors,
    jax.ShapeDtypeStruct(clips.shape, clips.dtype),
  ).as_text()
  narrow = compute_dtype == "bfloat16"
  assert _dtypes_of_convolutions(text) == ({"bf16"} if narrow else {"f32"})


def test_a_run_trained_in_bfloat16_has_a_float32_models_fingerprint(
  small_config,
):
  params = {"kernel": np.arange(6, dtype=np.float32)}
  vectors = np.ones((3, 16, 8), np.float32)

  def of(**overrides):
    return fingerprint.compute(small_config(**overrides), params, vectors)

  assert of(train_dtype="bfloat16") == of()
  # An old model's codes are those of its dtype, however it is trained on.
  old = {"model.compute_dtype": "bfloat16"}
  assert of(**old) == of(**old, train_dtype="float32") != of()


def test_every_format_takes_a_model_trained_in_bfloat16(small_config):
  config = small_config(train_dtype="bfloat16")
  options = format_lib.Options()
  for name in formats.FORMATS:
    assert formats.refusal(name, config, options) == formats.refusal(
      name, small_config(), options
    )


def test_float64_is_not_narrowed_in_training(small_config):
  with pytest.raises(errors.InputError, match=r"train_dtype=float32 .*float64"):
    small_config(**{"train_dtype": "float32", "model.compute_dtype": "float64"})


@pytest.fixture
def dtypes_of_steps(monkeypatch):
  """The dtypes of the convolutions of each step that is compiled."""
  seen = []
  compile_step = compiled.Compiled.compile

  def noted(self):
    if not self.is_compiled:
      text = self._function.lower(*self._arguments).as_text()
      seen.append(_dtypes_of_convolutions(text))
    compile_step(self)

  monkeypatch.setattr(compiled.Compiled, "compile", noted)
  return seen


def test_an_old_workdir_goes_on_in_its_dtype_or_in_another(
  small_config, voices, tmp_path, dtypes_of_steps
):
  workdir = tmp_path / "run"
  config = small_config(
    **{
      "data.sources": voices,
      "model.compute_dtype": "bfloat16",
      "form": "plain",
      "discriminator.start_step": 1_000,
      "num_steps": 1,
    },
  )
  assert loop.train(config, workdir) == 0
  # As a version wrote it that had no such field.
  saved = folder_lib.read_config(workdir)
  del saved["train_dtype"]
  (workdir / "config.json").write_text(json.dumps(saved))
  old = config_lib.from_dict(folder_lib.read_config(workdir))
  assert old.dtype_in_training == "bfloat16"
  resumed = dataclasses.replace(old, num_steps=2, train_dtype="float32")
  assert loop.train(resumed, workdir) == 0
  assert dtypes_of_steps == [{"bf16"}, {"f32"}]
  restored = weights.restore(workdir)
  assert restored.config.model.compute_dtype == "bfloat16"
  for leaf in jax.tree.leaves(restored.params):
    assert leaf.dtype == np.float32
    assert np.all(np.isfinite(leaf))
