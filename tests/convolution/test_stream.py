"""Convolutions with a memory: every way to compute them is the same function."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from soundstream_jax.convolution import plain, signal
from soundstream_jax.convolution.stream import matrices
from soundstream_jax.convolution.stream import method as stream
from soundstream_jax.model import encoder, initialise

CHANNELS, STRIDES = 16, (4, 5)
HOP, BLOCKS = 20, 4


NET = encoder.Encoder(
  channels=CHANNELS,
  strides=STRIDES,
  embedding_dim=8,
  residual_kernel=7,
  residual_hidden_ratio=0.5,
)


def _encoded(variables, audio, method, **options):
  """Applies the encoder; latents, and what `mutable` collections become."""

  def run(net, audio):
    x = signal.enter(audio, method, channels=CHANNELS, granule=HOP)
    return net(x).leave()

  return NET.apply(variables, audio, method=run, **options)


@pytest.mark.parametrize("frames", [1, 4], ids="{}_frames".format)
@pytest.mark.parametrize("line", [0, stream.LINE], ids="line_{}".format)
@pytest.mark.parametrize("short", [0, matrices.SHORT], ids="short_{}".format)
@pytest.mark.parametrize("narrow", [1, 100], ids="narrow_{}".format)
def test_blocks_are_convolved_as_a_whole(
  monkeypatch, frames, line, short, narrow
):
  method = stream.Stream(line)
  monkeypatch.setattr(matrices, "SHORT", short)
  monkeypatch.setattr(matrices, "NARROW", narrow)
  shape = (2, BLOCKS * frames * HOP, 1)
  audio = np.random.default_rng(0).standard_normal(shape, np.float32)
  declared = NET.init(
    jax.random.key(0),
    signal.enter(audio, plain.Plain(), channels=CHANNELS, granule=HOP),
  )
  start = {"params": initialise.draw(declared["params"], jax.random.key(0))}
  empty = jnp.zeros_like(audio[:, : frames * HOP])
  both = ["stream", "prepared"]
  _, made = _encoded(start, empty, method, mutable=both)
  state = jax.tree.map(jnp.zeros_like, made["stream"])
  latents = []
  for block in np.split(audio, BLOCKS, axis=1):
    variables = {"params": {}, "prepared": made["prepared"], "stream": state}
    y, changed = _encoded(variables, block, method, mutable=["stream"])
    state = changed["stream"]
    latents.append(y)
  whole = _encoded(start, audio, plain.Plain())
  assert np.std(whole) > 1  # not of parameters that are all zero
  np.testing.assert_allclose(
    np.concatenate(latents, axis=1), whole, atol=1e-5 * np.abs(whole).max()
  )
