"""Random models and runs for the codec's tests, and what equal codes means."""

import functools
import math
import shutil

import flax.linen as nn
import jax
import numpy as np
import pytest
import soundfile

from soundstream_jax import config as config_lib
from soundstream_jax.checkpoint import manager
from soundstream_jax.codec import __main__ as command
from soundstream_jax.codec import codec as codec_lib
from soundstream_jax.model import codebook, soundstream

# Of the run that the commands' tests encode with.
COMMANDS_CONFIG = config_lib.Config(
  audio=config_lib.Audio(sample_rate_hz=16_000),
  model=config_lib.Model(
    encoder_channels=2, decoder_channels=2, strides=(320,), embedding_dim=8
  ),
  quantizer=config_lib.Quantizer(num_quantizers=3, codebook_size=32),
)


@pytest.fixture(scope="session")
def random_codec():
  """Returns random_codec(config) -> (Codec, params, vectors)."""
  return _random_codec


@pytest.fixture(scope="session")
def differ_at_near_ties_only():
  """Returns check(codes, expected, latents, vectors), which counts aloud."""
  return _differ_at_near_ties_only


def _random_codec(config):
  """Random parameters, biases included, and codebooks that get finer."""
  random = np.random.default_rng(0)
  params = jax.tree.map(
    lambda leaf: random.normal(
      size=leaf.shape, scale=math.prod(leaf.shape[:-1]) ** -0.5
    ).astype(np.float32),
    nn.meta.unbox(soundstream.declare(config)),
  )
  q = config.quantizer
  shape = (q.num_quantizers, q.codebook_size, config.model.embedding_dim)
  scale = 0.5 ** np.arange(shape[0]).reshape(-1, 1, 1)
  vectors = (scale * random.normal(size=shape)).astype(np.float32)
  codec = codec_lib.Codec(config, params, vectors, step=5, weights="ema")
  return codec, params, vectors


def _differ_at_near_ties_only(codes, expected, latents, vectors):
  """Checks codes [F, Q] that were computed in another way than expected.

  Where they first differ in a frame, the distances of the two codes agree to
  1e-5; after that the residuals are others.
  """
  differing = np.flatnonzero((codes != expected).any(axis=1))
  print(f"{len(differing)} of {len(codes)} frames differ")
  for frame in differing:
    layer = int(np.flatnonzero(codes[frame] != expected[frame])[0])
    residual = latents[frame] - sum(
      vectors[i, expected[frame, i]] for i in range(layer)
    )
    distances = np.square(residual - vectors[layer]).sum(axis=-1)
    one = distances[codes[frame, layer]]
    other = distances[expected[frame, layer]]
    assert abs(one - other) <= 1e-5 * max(one, other)


@pytest.fixture(scope="session")
def workdir(tmp_path_factory):
  """A run with the checkpoints 10 and 20, raw and ema weights all different."""
  path = tmp_path_factory.mktemp("run")
  checkpoints = manager.Checkpoints(path, COMMANDS_CONFIG.checkpoint)
  for step in (10, 20):
    random = np.random.default_rng(step)
    vectors = random.normal(size=(3, 32, 8)).astype(np.float32)
    items = {
      "params": _random_params(step),
      "ema_params": _random_params(step + 1),
      "codebooks": codebook.Codebooks(
        vectors=vectors, counts=np.ones((3, 32), np.float32), sums=vectors
      ),
      "trainer": {"step": np.zeros((), np.int32)},
    }
    checkpoints.save(step, items, config=COMMANDS_CONFIG, data={})
  checkpoints.wait()
  checkpoints.close()
  return path


@pytest.fixture
def loaded_once(workdir, monkeypatch):
  """Commands share one codec per checkpoint; tables do not outlive a test."""
  monkeypatch.setattr(codec_lib.Codec, "load", _shared_load)
  yield
  shutil.rmtree(workdir / "entropy", ignore_errors=True)


_original_load = codec_lib.Codec.load


@functools.cache
def _shared_load(workdir, *, step=None, weights=None):
  return _original_load(workdir, step=step, weights=weights)


@pytest.fixture
def wav(tmp_path):
  def make(samples=4_000, rate_hz=16_000, channels=1, name="in.wav"):
    noise = np.random.default_rng(samples).normal(size=(samples, channels))
    soundfile.write(tmp_path / name, 0.1 * noise, rate_hz, subtype="PCM_16")
    return tmp_path / name

  return make


@pytest.fixture
def run(capsys):
  """Runs a command that must succeed; returns what it printed."""

  def succeed(*argv):
    assert command.main([str(word) for word in argv]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    return out

  return succeed


@pytest.fixture
def refused(capsys, tmp_path):
  """Runs a command that must fail in one line and leave no file behind."""

  def fail(*argv):
    before = {p: p.read_bytes() for p in tmp_path.iterdir() if p.is_file()}
    assert command.main([str(word) for word in argv]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    after = {p: p.read_bytes() for p in tmp_path.iterdir() if p.is_file()}
    assert after == before
    return err

  return fail


def _random_params(seed: int):
  random = np.random.default_rng(seed)
  return jax.tree.map(
    lambda leaf: random.normal(
      size=leaf.shape, scale=math.prod(leaf.shape[:-1]) ** -0.5
    ).astype(np.float32),
    nn.meta.unbox(soundstream.declare(COMMANDS_CONFIG)),
  )
