"""STFT networks of every window are one function by every method."""

import jax
import numpy as np
import pytest

from soundstream_jax.convolution import granules
from soundstream_jax.model import initialise
from soundstream_jax.train import state as state_lib

WINDOWS = (2048, 1024, 512, 256, 128)
SAMPLES = 2_400  # a few frames of the longest window, many of the shortest
# These programs run once, so compiling them quickly matters more.
QUICK = {"xla_backend_optimization_level": 0}
FORMS = ("blocks", "rows", "lanes")
SLOW = [
  pytest.param(f, marks=() if f == "lanes" else pytest.mark.slow) for f in FORMS
]


@pytest.fixture(scope="module")
def judged(small_config):
  """Returns judged(form, gradients) -> what the networks say of some audio.

  The outputs, and on request the gradients of parameters and audio; from one
  set of weights.
  """
  drawn, found = {}, {}
  rng = np.random.default_rng(0)
  audio = 0.1 * rng.standard_normal((2, SAMPLES, 1)).astype(np.float32)

  def run(form, *, gradients=False):
    # Those whose planes are the widest and the narrowest.
    windows = (max(WINDOWS), min(WINDOWS)) if gradients else WINDOWS
    config = small_config(
      **{
        "form": form,
        "data.crop_samples": SAMPLES,
        "discriminator.wave_scales": 0,
        "discriminator.stft_windows": windows,
      }
    )
    net = state_lib.discriminator_module(config)
    if windows not in drawn:
      declared = jax.eval_shape(net.init, jax.random.key(0), audio)["params"]
      assert set(declared) == {f"stft_{window}" for window in windows}
      drawn[windows] = initialise.draw(declared, jax.random.key(0))

    def judge(params, x):
      return net.apply({"params": params}, x)

    def loss(params, x):
      outputs = judge(params, x)
      return sum((o.logits**2).mean() for o in outputs), outputs

    slopes = jax.grad(loss, argnums=(0, 1), has_aux=True)
    function = slopes if gradients else judge
    return jax.jit(function, compiler_options=QUICK)(drawn[windows], audio)

  def once(form, **how):
    key = (form, *how)
    if key not in found:
      found[key] = run(form, **how)
    return found[key]

  return once


def assert_same(actual, expected, *, tolerance=1e-5):
  expected = jax.tree_util.tree_leaves_with_path(expected)
  for (path, e), a in zip(expected, jax.tree.leaves(actual), strict=True):
    # Features lie as their method has them, which is in the same order.
    np.testing.assert_allclose(
      a.reshape(e.shape),
      e,
      rtol=tolerance,
      atol=tolerance * np.abs(e).max(),
      err_msg=jax.tree_util.keystr(path),
    )


@pytest.mark.parametrize("form", SLOW)
def test_a_network_of_any_window_is_the_definition(judged, form):
  assert_same(judged(form), judged("plain"))


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMS)
def test_so_are_its_gradients(judged, form):
  # That of a bias is a sum of 9,000 values that cancel; in what order each
  # processor adds them is worth 1.1e-5 (Zen 5), so a whole model's tolerance.
  assert_same(
    judged(form, gradients=True),
    judged("plain", gradients=True),
    tolerance=1e-4,
  )


@pytest.mark.parametrize("window", WINDOWS)
def test_all_frequencies_of_any_window_stay_together(window):
  """Six halvings leave a whole number of them: one for the shortest."""
  assert granules.of("stft", window // 2) == window // 2
  assert granules.of("stft", window // 2) >> 6 == window // 128


def test_each_network_sees_the_frames_of_its_window(judged):
  for window, output in zip(WINDOWS, judged("plain"), strict=True):
    frames = 1 + (SAMPLES - window) // (window // 4)
    assert output.features[0].shape[1:3] == (frames, window // 2)
    assert output.features[-1].shape[2] == window // 128
    assert output.logits.shape == (2, -(-frames // 8), 1)
