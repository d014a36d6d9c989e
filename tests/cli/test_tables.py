"""Laws of `soundstream tables`: which audio is heard, where tables go."""

import argparse
import math

import flax.linen as nn
import jax
import numpy as np
import pytest

from soundstream_jax import config as config_lib
from soundstream_jax import errors
from soundstream_jax.checkpoint import folder as folder_lib
from soundstream_jax.checkpoint import manager
from soundstream_jax.cli import main, tables
from soundstream_jax.codec import trained_model
from soundstream_jax.codec.sstr.entropy import table_files
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
  return main.parse(["tables", *map(str, words)])


def test_the_command_keeps_tables_where_pruning_does_not_come(
  tmp_path, voices, capsys
):
  checkpoints = manager.Checkpoints(tmp_path, CONFIG.checkpoint)
  save(checkpoints, 10)
  words = (f"--model={tmp_path}", f"--data={voices}", "--seconds=20")
  tables.run(parsed(*words))
  printed = capsys.readouterr().out.splitlines()
  assert printed[0].startswith("1500 frames, 20 s of the split 'train'")
  assert len(printed) == 1 + 1 + 3 + 1
  save(checkpoints, 20)
  checkpoints.close()
  assert folder_lib.steps(tmp_path) == [20]
  model = trained_model.load(tmp_path)
  made = table_files.for_model(tmp_path, model.fingerprint)
  assert printed[-1].startswith(
    str(tmp_path / "entropy" / f"{made.identity.hex()}.tables")
  )
  # The same records give the same tables.
  tables.run(parsed(*words))
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
  rates = argparse.Namespace(sample_rate_hz=24_000)
  model = argparse.Namespace(rates=rates)
  monkeypatch.setattr(trained_model, "load", lambda *_, **__: model)
  words = parsed("--model=x", f"--data={voices}", word)
  with pytest.raises(errors.InputError, match=reason):
    tables.run(words)


@pytest.mark.parametrize("text", ["0", "-1", "nan", "inf", "many"])
def test_seconds_are_a_number_of_seconds(text):
  with pytest.raises(errors.InputError, match="is not a number of seconds"):
    parsed("--model=x", "--data=y", f"--seconds={text}")
