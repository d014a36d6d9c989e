"""Every test sees eight CPU devices, strict ranks and parsed flags."""

import os

from benchmarks.faults import background_job

os.environ["XLA_FLAGS"] = (
  os.environ.get("XLA_FLAGS", "")
  + " --xla_force_host_platform_device_count=8 "
  + background_job.QUICK_COMPILATION
)
os.environ.setdefault("JAX_PLATFORMS", "cpu")

import jax
import numpy as np
import pytest
from absl import flags
from jax.experimental.compilation_cache import compilation_cache

from benchmarks.faults import saved_arrays as saved_arrays_lib
from soundstream_jax import config as config_lib

jax.config.update("jax_numpy_rank_promotion", "raise")

NUM_RECORDS = 12

# The same paths as the paper's model, small enough to compile in seconds.
SMALL = {
  "batch_size": 4,
  "num_steps": 6,
  "mesh.data": 1,
  "compilation_cache": "",
  "model.strides": (8,),
  "model.encoder_channels": 4,
  "model.decoder_channels": 4,
  "model.embedding_dim": 8,
  "quantizer.num_quantizers": 3,
  "quantizer.codebook_size": 16,
  "quantizer.revival_candidates": 8,
  "discriminator.wave_scales": 1,
  "discriminator.wave_channels": 4,
  "discriminator.wave_max_channels": 8,
  "discriminator.stft_channels": 2,
  "discriminator.stft_window": 128,
  "discriminator.stft_hop": 64,
  "loss.spectral_windows": (64,),
  "loss.mel_bins": 16,
  "optimizer.warmup_steps": 2,
  "data.crop_samples": 1_600,
  "data.num_threads": 1,
  "data.prefetch_batches": 2,
  "logging.every_steps": 1,
  "logging.tensorboard": False,
  "evaluation.num_clips": 2,
  "evaluation.clip_samples": 8_000,
  "evaluation.every_steps": 1_000,
  "evaluation.at_steps": (),
  "checkpoint.every_steps": 3,
}


@pytest.fixture(autouse=True, scope="session")
def _compiled_once(tmp_path_factory):
  """What takes a second to compile is compiled once, whoever needs it again.

  Every process of pytest-xdist has a cache of its own: JAX does not guard an
  entry against being read while it is written.
  """
  compilation_cache.reset_cache()
  jax.config.update(
    "jax_compilation_cache_dir", str(tmp_path_factory.mktemp("programs"))
  )


@pytest.fixture(autouse=True, scope="session")
def _flags_parsed():
  """Grain's workers read absl flags, which pytest never parses."""
  if not flags.FLAGS.is_parsed():
    flags.FLAGS.mark_as_parsed()


@pytest.fixture(scope="session")
def small_overrides():
  """The small model's fields, to pass as --config.NAME=VALUE."""
  return dict(SMALL)


@pytest.fixture(scope="session")
def small_config():
  """Returns a function (**overrides) -> Config of the small model."""

  def make(**overrides):
    values = config_lib.default()
    with values.ignore_type():
      values.update_from_flattened_dict({**SMALL, **overrides})
    return config_lib.from_dict(values)

  return make


@pytest.fixture(scope="session")
def voices(tmp_path_factory):
  """12 speakers of 5 s: 10 to train on, one each for validation and test."""
  from soundstream_jax.data_pipelines import prepare

  out = tmp_path_factory.mktemp("prepared") / "voices"
  code = prepare.main(
    ["", "--dataset=synthetic", "--minutes=1", f"--out={out}"]
  )
  assert code == 0
  return str(out)


@pytest.fixture(scope="session")
def noises(tmp_path_factory):
  """12 colours of noise of 5 s, split as `voices`."""
  from soundstream_jax.data_pipelines import prepare

  out = tmp_path_factory.mktemp("prepared") / "noises"
  code = prepare.main(
    ["", "--dataset=synthetic", "--kind=noises", "--minutes=1", f"--out={out}"]
  )
  assert code == 0
  return str(out)


@pytest.fixture(scope="session")
def numbered(tmp_path_factory):
  """Record k of 12 is k + 1 throughout, over two groups a split."""
  from soundstream_jax.data_pipelines.preparation import records

  out = tmp_path_factory.mktemp("prepared") / "numbered"

  def pieces(split):
    for k in range(NUM_RECORDS):
      audio = np.full(30_000, k + 1, np.int16)
      yield records.Piece(f"{split}{k:02d}", f"{k}.wav", audio)

  records.write(
    out,
    pieces={s: lambda s=s: pieces(s) for s in ("train", "validation")},
    sample_rate_hz=24_000,
    details={},
  )
  return str(out)


@pytest.fixture
def make_config():
  """Returns a function (sources, **overrides) -> Config of default sizes."""

  def make(sources, **overrides):
    values = config_lib.default()
    values.update_from_flattened_dict(
      {
        "data.sources": sources,
        "data.gain_db": (0.0, 0.0),
        "data.num_threads": 2,
        "data.prefetch_batches": 2,
        "batch_size": 4,
        **overrides,
      }
    )
    return config_lib.from_dict(values)

  return make


@pytest.fixture(scope="session")
def saved_arrays():
  """Returns a function (workdir, step) -> every array of a checkpoint."""
  return saved_arrays_lib.read


@pytest.fixture
def with_ffmpeg(tmp_path_factory, monkeypatch):
  """A real ffmpeg on PATH, whatever the machine has; returns its path."""
  import imageio_ffmpeg

  program = tmp_path_factory.mktemp("programs") / "ffmpeg"
  program.symlink_to(imageio_ffmpeg.get_ffmpeg_exe())
  monkeypatch.setenv("PATH", str(program.parent), prepend=os.pathsep)
  return program


@pytest.fixture
def without_ffmpeg(tmp_path_factory, monkeypatch):
  """No ffmpeg, nor another program, on PATH."""
  monkeypatch.setenv("PATH", str(tmp_path_factory.mktemp("nothing")))
