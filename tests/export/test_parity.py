"""Laws of every format: a trained model's codes and audio are ours elsewhere."""

import functools
import pathlib

import numpy as np
import pytest

from soundstream_jax.codec import trained_model
from soundstream_jax.export import folder as folder_lib
from soundstream_jax.export import format as format_lib
from soundstream_jax.export import formats, golden, parity
from tests.export import trained

# What takes seconds to import, or to convert.
HEAVY = {"torch", "hf", "litert"}
# Ways that every runtime has.
WHOLE = {"encode", "first layers", "decode", "batch"}
OPTIONS = format_lib.Options()


def marked(name):
  return pytest.param(name, marks=[pytest.mark.slow] if name in HEAVY else [])


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
  return trained.train(tmp_path_factory.mktemp("trained"))


@pytest.fixture(scope="module")
def model(workdir):
  return trained_model.read(workdir)


@pytest.fixture(scope="module")
def written(model, workdir, tmp_path_factory):
  """Returns written(name) -> a folder of the format, with golden values."""

  @functools.cache
  def write(name):
    path = tmp_path_factory.mktemp(name)
    assert formats.refusal(name, model.config, OPTIONS) is None
    files = dict(formats.FORMATS[name].files(model, OPTIONS))
    files[golden.NAME] = golden.to_bytes(trained.values_of(workdir, 2))
    for relative, data in files.items():
      (path / relative).parent.mkdir(parents=True, exist_ok=True)
      (path / relative).write_bytes(data)
    return path

  return write


@pytest.mark.parametrize("name", [*map(marked, formats.FORMATS)])
def test_a_minute_has_the_same_codes_and_audio_in_every_runtime(
  name, workdir, written
):
  rows = folder_lib.rows_of(
    written(name),
    formats.FORMATS[name],
    trained.values_of(workdir, 60),
  )
  exact = [row for row in rows if not row.lossy]
  assert exact
  for row in rows:
    print(row)
    # 4,500 frames of 16 layers, several times over.
    assert row.codes > 100_000
    assert set(row.ways) >= WHOLE
    assert row.passes
  for row in exact:
    assert row.different == 0
    assert row.audio <= parity.AUDIO_WITHIN
    assert row.snr_db > 100


@pytest.mark.parametrize("name", [*map(marked, formats.FORMATS)])
def test_ten_lines_of_a_consumer_run_as_the_readme_prints_them(name, written):
  code = formats.FORMATS[name].consumer
  assert len(code.splitlines()) <= 18
  trained.run_code(code, written(name))


def test_a_code_that_differs_is_counted_and_excused_at_near_ties_alone():
  distance = np.array([[1.0, 1.0], [1e-6, 1.0], [1.0, 1e-6]], np.float32)
  counted = parity._Codes(distance)
  expected = np.zeros((3, 2), np.int32)
  found = np.array([[0, 1], [1, 1], [1, 0]], np.int32)
  counted.add("encode", found, expected)
  # The second frame is open from its first layer on; the others are not.
  assert (counted.codes, counted.different, counted.excused) == (6, 4, 2)
  assert counted.frames == [
    ("encode", 0, 1),
    ("encode", 1, 0),
    ("encode", 2, 0),
  ]


def test_blocks_add_up_and_are_those_allowed():
  for frames in (1, 7, 100):
    blocks = parity.random_blocks(frames, (1, 8, 32))
    assert sum(blocks) == frames and set(blocks) <= {1, 8, 32}
    assert sum(parity.random_blocks(frames, ())) == frames


def test_tables_name_what_failed(model):
  row = parity.Row(
    runtime="a",
    version="1",
    lossy=False,
    codes=10,
    different=1,
    excused=0,
    frames=(("encode", 0, 0),),
    audio=0.0,
    snr_db=999.0,
    ways=("encode",),
  )
  assert "FAILED" in parity.table([row]) and not row.passes
  assert pathlib.Path(folder_lib.CARD).suffix == ".json"
