"""A method of convolving is one class: two from outside train, stream, resume."""

import dataclasses
import json
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import soundstream_jax
from soundstream_jax import config as config_lib
from soundstream_jax import errors
from soundstream_jax.convolution import methods, plain
from soundstream_jax.settings.constraints import forms
from soundstream_jax.train import loop
from tests.codec.stream import chunks
from tests.convolution.channels_first import ChannelsFirst


@dataclasses.dataclass(frozen=True)
class Patches(plain.Plain):
  """Cuts out what each output sees, and multiplies."""

  def convolve(self, spec, x, parameters, memory):
    if spec.transposed:
      return super().convolve(spec, x, parameters, memory)
    kernel, bias = parameters()
    seen = lax.conv_general_dilated_patches(
      jnp.moveaxis(x.values, -1, 1),
      spec.kernel,
      spec.strides,
      spec.padding,
      rhs_dilation=(*(1,) * (spec.axes - 1), spec.dilation),
    )
    taps = math.prod(spec.kernel)
    batch, space = seen.shape[0], seen.shape[2:]
    seen = seen.reshape(batch, spec.groups, -1, taps, *space)
    kernel = kernel.reshape(taps, -1, spec.groups, spec.features // spec.groups)
    y = jnp.einsum("bgit...,tigo->b...go", seen, kernel)
    y = y.reshape(batch, *space, spec.features)
    return y + bias.reshape((1,) * (y.ndim - 1) + (-1,))


@pytest.fixture
def toy(request, monkeypatch):
  """Puts a method into the table, as config.form=toy."""
  monkeypatch.setitem(methods.METHODS, "toy", request.param)
  monkeypatch.setattr(forms, "FORMS", (*forms.FORMS, "toy"))


@pytest.fixture(scope="module")
def first_losses(small_config, voices, tmp_path_factory):
  """The losses of a first step as the definition computes it."""
  config = small_config(form="plain", num_steps=1, **{"data.sources": voices})
  workdir = tmp_path_factory.mktemp("runs") / "plain"
  assert loop.train(config, workdir) == 0
  return _losses(workdir, 1)


def _losses(workdir, step):
  lines = map(json.loads, (workdir / "metrics.jsonl").read_text().splitlines())
  found = {}
  for line in lines:
    if line["step"] == step:
      found |= {k: v for k, v in line.items() if k.startswith("loss/")}
  return found


@pytest.mark.slow
@pytest.mark.parametrize(
  "toy", [Patches(), ChannelsFirst()], indirect=True, ids=type
)
def test_it_trains_streams_and_resumes(
  toy, small_config, voices, first_losses, tmp_path
):
  config = small_config(form="toy", num_steps=2, **{"data.sources": voices})
  assert loop.train(config, tmp_path) == 0
  losses = _losses(tmp_path, 1)
  assert losses.keys() == first_losses.keys()
  assert len(losses) > 3
  for name, value in losses.items():
    np.testing.assert_allclose(
      value, first_losses[name], rtol=1e-4, err_msg=name
    )
  codec = soundstream_jax.load(tmp_path)
  audio = np.random.default_rng(0).standard_normal(4_000).astype(np.float32)
  codes = codec.encode(audio)
  from soundstream_jax.codec.streaming import StreamEncoder

  encoder = StreamEncoder(codec, block_frames=64)
  streamed = chunks.run(encoder, audio, [700, 1_300])
  np.testing.assert_array_equal(streamed, codes)
  longer = dataclasses.replace(config, num_steps=3)
  assert loop.train(longer, tmp_path) == 0
  assert _losses(tmp_path, 3)


def test_every_method_has_a_value_of_config_form():
  assert ("auto", *methods.METHODS) == forms.FORMS


def test_a_form_that_no_method_has_is_refused_with_those_there_are():
  with pytest.raises(errors.InputError, match="Use one of auto, plain, blocks"):
    methods.choose("rowz")


def test_the_form_of_a_method_that_is_gone_reads_as_auto_with_one_warning(
  monkeypatch, small_config, caplog
):
  saved = config_lib.to_dict(small_config(form="lanes"))
  monkeypatch.setattr(forms, "FORMS", ("auto", "plain"))
  monkeypatch.setattr(forms, "DROPPED", ("lanes",))
  with caplog.at_level("WARNING"):
    assert config_lib.from_dict(saved).form == "auto"
  (record,) = caplog.records
  assert "form='lanes'" in record.getMessage()


def test_platforms_are_asked_for_only_by_auto(monkeypatch):
  monkeypatch.setattr(jax, "default_backend", None)
  assert methods.choose("lanes") is methods.METHODS["lanes"]
