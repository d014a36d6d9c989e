"""Convolutions with a memory: every way to compute them is the same function."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from soundstream_jax.convolution.stream import ways as streams
from soundstream_jax.model import (
  encoder,
)

CHANNELS, STRIDES = 16, (4, 5)
HOP, BLOCKS = 20, 4


def _encoder(form):
  return encoder.Encoder(
    channels=CHANNELS,
    strides=STRIDES,
    embedding_dim=8,
    residual_kernel=7,
    residual_hidden_ratio=0.5,
    form=form,
  )


@pytest.mark.parametrize("frames", [1, 4], ids="{}_frames".format)
@pytest.mark.parametrize("line", [0, streams.LINE], ids="line_{}".format)
@pytest.mark.parametrize("short", [0, streams.SHORT], ids="short_{}".format)
@pytest.mark.parametrize("narrow", [1, 100], ids="narrow_{}".format)
def test_blocks_are_convolved_as_a_whole(
  monkeypatch, frames, line, short, narrow
):
  monkeypatch.setattr(streams, "LINE", line)
  monkeypatch.setattr(streams, "SHORT", short)
  monkeypatch.setattr(streams, "NARROW", narrow)
  shape = (2, BLOCKS * frames * HOP, 1)
  audio = np.random.default_rng(0).standard_normal(shape, np.float32)
  plain, net = _encoder("plain"), _encoder("stream")
  params = plain.init(jax.random.key(0), audio)["params"]
  start = {"params": params}
  empty = jnp.zeros_like(audio[:, : frames * HOP])
  _, made = net.apply(start, empty, mutable=["stream", "prepared"])
  state = jax.tree.map(jnp.zeros_like, made["stream"])
  latents = []
  for block in np.split(audio, BLOCKS, axis=1):
    variables = {"params": {}, "prepared": made["prepared"], "stream": state}
    y, changed = net.apply(variables, block, mutable=["stream"])
    state = changed["stream"]
    latents.append(y)
  whole = plain.apply(start, audio)
  np.testing.assert_allclose(
    np.concatenate(latents, axis=1), whole, rtol=1e-5, atol=1e-5
  )
