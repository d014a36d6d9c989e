"""A run of two checkpoints, and commands on it that succeed or are refused."""

import dataclasses
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
from soundstream_jax.cli import __main__ as command
from soundstream_jax.codec import trained_model
from soundstream_jax.codec.sstr import reader, writer
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
  """Commands share one model per checkpoint; tables do not outlive a test."""
  monkeypatch.setattr(trained_model, "load", _shared_load)
  yield
  shutil.rmtree(workdir / "entropy", ignore_errors=True)


_original_load = trained_model.load


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

  def fail(*argv, code=2):
    before = {p: p.read_bytes() for p in tmp_path.iterdir() if p.is_file()}
    assert command.main([str(word) for word in argv]) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    after = {p: p.read_bytes() for p in tmp_path.iterdir() if p.is_file()}
    assert after == before
    return err

  return fail


@pytest.fixture
def encoded(wav, run, workdir, loaded_once, tmp_path):
  run("encode", wav(), tmp_path / "a.sstr", f"--model={workdir}")
  return tmp_path / "a.sstr"


@pytest.fixture
def rewritten(encoded):
  """Gives the encoded file's header other fields."""

  def rewrite(**changes):
    recording = reader.read(encoded)
    header = dataclasses.replace(recording.header, **changes)
    writer.write(encoded, header, recording.codes)

  return rewrite


def _random_params(seed: int):
  random = np.random.default_rng(seed)
  return jax.tree.map(
    lambda leaf: random.normal(
      size=leaf.shape, scale=math.prod(leaf.shape[:-1]) ** -0.5
    ).astype(np.float32),
    nn.meta.unbox(soundstream.declare(COMMANDS_CONFIG)),
  )
