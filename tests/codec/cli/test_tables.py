"""Laws of measuring tables: what is counted, what is saved, where it goes."""

import argparse
import math

import flax.linen as nn
import jax
import numpy as np
import pytest

from soundstream_jax import config as config_lib
from soundstream_jax import errors
from soundstream_jax.checkpoint import manager
from soundstream_jax.codec import codec as codec_lib
from soundstream_jax.codec.cli import options, tables
from soundstream_jax.codec.sstr.entropy import plane_coder, table_files
from soundstream_jax.model import codebook, soundstream

CONFIG = config_lib.Config(
  audio=config_lib.Audio(sample_rate_hz=24_000),
  model=config_lib.Model(
    encoder_channels=2, decoder_channels=2, strides=(320,), embedding_dim=8
  ),
  quantizer=config_lib.Quantizer(num_quantizers=3, codebook_size=32),
  checkpoint=config_lib.Checkpoint(keep=1),
)
STEPS = (10, 20)


def geometric(random, frames, *, ratio):
  codes = random.geometric(1 - ratio, (frames, 3)) - 1
  return np.minimum(codes, 31).astype(np.int32)


def save(checkpoints, step):
  random = np.random.default_rng(0)
  params = jax.tree.map(
    lambda leaf: random.normal(
      size=leaf.shape, scale=math.prod(leaf.shape[:-1]) ** -0.5
    ).astype(np.float32),
    nn.meta.unbox(soundstream.declare(CONFIG)),
  )
  vectors = random.normal(size=(3, 32, 8)).astype(np.float32)
  items = {
    "params": params,
    "ema_params": params,
    "codebooks": codebook.Codebooks(
      vectors=vectors, counts=np.ones((3, 32), np.float32), sums=vectors
    ),
    "trainer": {"step": np.zeros((), np.int32)},
  }
  checkpoints.save(step, items, config=CONFIG, data={})
  checkpoints.wait()


def parsed(*words):
  return options.parse(["tables", *map(str, words)])


def test_the_saving_is_what_other_codes_save_in_whole_planes():
  random = np.random.default_rng(0)
  parts = [geometric(random, 600, ratio=0.7) for _ in range(8)]
  made, saved = tables.measure(parts, codebook_size=32, fingerprint=bytes(32))
  fresh = geometric(random, 5_120, ratio=0.7)
  planes, layers = tables.to_planes(fresh, frames=256)
  np.testing.assert_array_equal(planes[4], fresh[256:512, 1])
  assert layers[4] == 1
  blobs = plane_coder.encode_planes(planes, layers, made)
  found = 1 - sum(map(len, blobs)) / (len(planes) * 160)
  assert saved.shape == (3,)
  assert abs(saved.mean() - found) < 0.01
  entropies = tables.entropy_bits(made)
  assert (np.abs(1 - saved - entropies / 5) < 0.02).all()


def test_codes_without_a_pattern_are_not_said_to_save_anything():
  random = np.random.default_rng(0)
  parts = [random.integers(0, 32, (600, 3)) for _ in range(8)]
  _, saved = tables.measure(parts, codebook_size=32, fingerprint=bytes(32))
  np.testing.assert_array_equal(saved, np.zeros(3))


@pytest.mark.parametrize("frames", [[], [511], [300, 255]])
def test_too_few_codes_are_refused(frames):
  with pytest.raises(errors.InputError, match=f"{sum(frames)} frames are too"):
    tables.measure(
      [np.zeros((count, 3), np.int32) for count in frames],
      codebook_size=32,
      fingerprint=bytes(32),
    )


def test_the_command_keeps_tables_where_pruning_does_not_come(
  tmp_path, voices, capsys
):
  checkpoints = manager.Checkpoints(tmp_path, CONFIG.checkpoint)
  save(checkpoints, 10)
  words = (f"--model={tmp_path}", f"--data={voices}", "--seconds=20")
  tables.tables(parsed(*words))
  printed = capsys.readouterr().out.splitlines()
  assert printed[0].startswith("1500 frames, 20 s of the split 'train'")
  assert len(printed) == 1 + 1 + 3 + 1
  save(checkpoints, 20)
  checkpoints.close()
  assert manager.steps(tmp_path) == [20]
  codec = codec_lib.Codec.load(tmp_path)
  made = table_files.for_model(tmp_path, codec.fingerprint)
  assert printed[-1].startswith(
    str(tmp_path / "entropy" / f"{made.identity.hex()}.tables")
  )
  # The same records give the same tables.
  tables.tables(parsed(*words))
  assert len(list((tmp_path / "entropy").iterdir())) == 1


@pytest.mark.parametrize(
  ("word", "reason"),
  [
    ("--data=,", "names no dataset"),
    ("--data=/none", "--data: /none does not exist"),
    ("--split=other", "has no records in the split 'other'"),
  ],
)
def test_the_command_names_a_dataset_it_cannot_read(
  word, reason, voices, monkeypatch
):
  codec = argparse.Namespace(sample_rate=24_000)
  monkeypatch.setattr(codec_lib.Codec, "load", lambda *_, **__: codec)
  words = parsed("--model=x", f"--data={voices}", word)
  with pytest.raises(errors.InputError, match=reason):
    tables.tables(words)


@pytest.mark.parametrize("text", ["0", "-1", "nan", "inf", "many"])
def test_seconds_are_a_number_of_seconds(text):
  with pytest.raises(errors.InputError, match="is not a number of seconds"):
    parsed("--model=x", "--data=y", f"--seconds={text}")
