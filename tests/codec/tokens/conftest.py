"""The model of version 0.1 and what `soundstream tokens` makes with it."""

import json
import pathlib

import numpy as np
import pytest

from soundstream_jax.cli import __main__ as command
from soundstream_jax.codec import trained_model

MODEL = pathlib.Path(__file__).parents[2] / "frozen/v0_1/model"


@pytest.fixture(scope="session")
def model_folder():
  return MODEL


@pytest.fixture(scope="session")
def model():
  """16 codes a book, 3 layers, 150 frames a second, 24 kHz."""
  return trained_model.load(MODEL)


@pytest.fixture
def tokens(tmp_path, capsys, monkeypatch, model):
  """Returns tokens(data, *options, code=0) -> (its --out, stdout, stderr)."""
  monkeypatch.setattr(trained_model, "load", lambda *_, **__: model)

  def run(data, *options, out=tmp_path / "tokens", code=0):
    argv = ["tokens", f"--data={data}", f"--model={MODEL}", f"--out={out}"]
    assert command.main([*argv, "--workers=2", *options]) == code
    printed = capsys.readouterr()
    return out, printed.out, printed.err

  return run


@pytest.fixture(scope="session")
def sequences():
  """Returns sequences(folder) -> [(line of the index, its codes)]."""

  def read(folder):
    lines = (folder / "index.jsonl").read_text().splitlines()
    found = []
    for entry in map(json.loads, lines):
      codes = np.load(folder / entry["shard"], mmap_mode="r")
      found.append((entry, codes[entry["start"] :][: entry["frames"]]))
    return found

  return read


@pytest.fixture(scope="session")
def content():
  """Returns content(folder) -> {name: bytes} of all that is in it."""
  return lambda folder: {
    str(path.relative_to(folder)): path.read_bytes()
    for path in folder.rglob("*")
    if path.is_file()
  }


@pytest.fixture
def noise(tmp_path):
  """Returns noise(name, ...) -> a file in the folder `in`, of its own noise."""
  import soundfile

  def make(name, samples=9_000, rate_hz=24_000, channels=1):
    path = tmp_path / "in" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(len(name) + samples)
    audio = 0.1 * random.normal(size=(samples, channels))
    plain = path.with_stem("plain")  # libsndfile's names are UTF-8
    soundfile.write(plain, audio, rate_hz)
    return plain.rename(path)

  return make
