"""Laws of every format: a trained model's codes and audio are ours elsewhere."""

import pathlib

import numpy as np
import pytest

from soundstream_jax.checkpoint import exported
from soundstream_jax.codec import trained_model
from soundstream_jax.export import folder as folder_lib
from soundstream_jax.export import format as format_lib
from soundstream_jax.export import formats, parity
from tests.export import trained

# What takes seconds to import, or to convert.
HEAVY = {"torch", "hf", "litert"}
# Ways to use a runtime; those without streams have the first ones.
WHOLE = {"encode", "first layers", "decode", "batch"}
STREAMS = {"stream", "lost frames"}


def marked(name):
  return pytest.param(name, marks=[pytest.mark.slow] if name in HEAVY else [])


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
  return trained.train(tmp_path_factory.mktemp("trained"))


@pytest.fixture(scope="module")
def model(workdir):
  return trained_model.read(workdir)


@pytest.mark.parametrize("name", map(marked, formats.FORMATS))
def test_a_minute_has_the_same_codes_and_audio_in_every_runtime(
  name, workdir, model, tmp_path
):
  options = format_lib.Options()
  written = formats.FORMATS[name]
  assert formats.refusal(name, model.config, options) is None
  for path, data in written.files(model, options).items():
    file = tmp_path / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(data)
  rows = folder_lib.rows_of(
    tmp_path, written, trained.values_of(workdir), denoise=False
  )
  assert {row.runtime.split()[0] for row in rows} and rows
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


@pytest.mark.parametrize("name", map(marked, formats.FORMATS))
def test_the_readme_of_a_folder_runs_as_printed(name, model, tmp_path):
  small = exported.first_layers(model, 2)
  folder_lib.write(
    tmp_path / "out", name, small, format_lib.Options(), beside={}
  )
  text = (tmp_path / "out" / folder_lib.README).read_text()
  code = text.split("```python\n")[1].split("```")[0]
  assert len(code.splitlines()) <= 16
  trained.run_code(code, tmp_path / "out")


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
