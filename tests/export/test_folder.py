"""Laws of what an export leaves behind: all of it listed, and checkable."""

import dataclasses
import json

import numpy as np
import pytest
from safetensors import numpy as safetensors

from soundstream_jax import config as config_lib
from soundstream_jax import errors
from soundstream_jax.checkpoint import derived, exported
from soundstream_jax.codec import codec as codec_lib
from soundstream_jax.export import check, formats, golden, manifest
from soundstream_jax.export import folder as folder_lib
from soundstream_jax.export import format as format_lib
from tests.codec import random_codec
from tests.export import trained

CONFIG = config_lib.Config(
  audio=config_lib.Audio(sample_rate_hz=8_000),
  model=config_lib.Model(
    encoder_channels=2,
    decoder_channels=2,
    strides=(2, 5),
    embedding_dim=4,
    film="encoder",
  ),
  quantizer=config_lib.Quantizer(num_quantizers=3, codebook_size=8),
)


@pytest.fixture(scope="module")
def model():
  return random_codec.random_codec(CONFIG)[0].as_exported()


@pytest.fixture(scope="module")
def made(model, tmp_path_factory):
  path = tmp_path_factory.mktemp("made") / "a" / "params"
  options = format_lib.Options(licence="CC BY 4.0", data="two voices")
  folder_lib.write(path, "params", model, options, beside={"note": b"n"})
  return path


@pytest.fixture
def copied(made, tmp_path):
  """A copy of the folder that a test may spoil."""
  for path in made.iterdir():
    (tmp_path / path.name).write_bytes(path.read_bytes())
  return tmp_path


def test_everything_is_listed_and_passes_its_check(made):
  content = manifest.read(made)
  names = {path.name for path in made.iterdir()}
  assert names == {*content["files"], manifest.NAME}
  assert {"note", golden.NAME, folder_lib.CARD, folder_lib.README} <= names
  assert check.folders(made.parent) == check.folders(made) == [made]
  checked = check.check(made)
  assert checked.passes and [row.different for row in checked.rows] == [0]
  assert "denoise" in checked.rows[0].ways


def test_licence_and_data_are_wherever_a_reader_looks(made):
  about = json.loads((made / exported.ABOUT).read_text())
  for content in (about, manifest.read(made)):
    assert (content["licence"], content["data"]) == ("CC BY 4.0", "two voices")
  for name in (folder_lib.LICENCE, folder_lib.README):
    text = (made / name).read_text()
    assert "CC BY 4.0" in text and "two voices" in text


def test_the_table_of_tensors_is_that_of_the_file(made):
  about = json.loads((made / exported.ABOUT).read_text())
  arrays = safetensors.load_file(made / exported.ARRAYS)
  assert about["format_version"] == 2
  assert {t["path"]: tuple(t["shape"]) for t in about["tensors"]} == {
    name: array.shape for name, array in arrays.items()
  }
  for tensor in about["tensors"]:
    assert tensor["layout"] and tensor["role"] and tensor["torch"]


@pytest.mark.parametrize(
  ("spoil", "lines"),
  [
    (lambda f: (f / "note").write_bytes(b"m"), ["note was changed"]),
    (lambda f: (f / "note").unlink(), ["note is missing"]),
    (lambda f: (f / "more").touch(), ["more does not belong there"]),
    (
      lambda f: _tamper(f, lambda a: a["codebooks/vectors"].__iadd__(1)),
      ["the tensor codebooks/vectors was changed"],
    ),
    (
      lambda f: _tamper(f, lambda a: a.pop("params/film/scale")),
      ["the tensor params/film/scale is missing"],
    ),
    (
      lambda f: _tamper(f, lambda a: a.update(x=np.ones(1, np.float32))),
      ["the tensor x does not belong there"],
    ),
    (
      lambda f: (f / exported.ARRAYS).write_bytes(b"?"),
      ["its tensors cannot be read"],
    ),
  ],
)
def test_what_was_tampered_with_is_named(copied, spoil, lines):
  spoil(copied)
  checked = check.check(copied)
  assert not checked.passes and checked.rows == ()
  for line in lines:
    assert any(line in change for change in checked.changes), checked.changes


def _tamper(folder, change):
  path = folder / exported.ARRAYS
  arrays = dict(safetensors.load_file(path))
  change(arrays)
  safetensors.save_file(arrays, path)


@pytest.mark.parametrize(
  ("name", "content", "match"),
  [
    (manifest.NAME, b"{", "cannot be read"),
    (manifest.NAME, b'{"format_version": 1}', "cannot be read"),
    (golden.NAME, b"PK", "was changed"),
  ],
)
def test_damage_of_what_checks_is_one_line(copied, name, content, match):
  (copied / name).write_bytes(content)
  try:
    lines = check.check(copied).changes
  except errors.InputError as error:
    lines = (str(error),)
  assert any(match in line for line in lines) and len(lines) == 1


def test_golden_values_that_are_no_longer_the_models_fail_the_check(copied):
  values = golden.read(copied)
  other = dataclasses.replace(values, codes=(values.codes + 1) % 8)
  data = golden.to_bytes(other)
  (copied / golden.NAME).write_bytes(data)
  content = manifest.read(copied)
  content["files"][golden.NAME] = {
    "bytes": len(data),
    "sha256": manifest.sha256(data),
  }
  (copied / manifest.NAME).write_bytes(manifest.to_bytes(content))
  checked = check.check(copied)
  assert checked.changes == () and not checked.passes


def test_float16_is_a_model_of_its_own(model, tmp_path):
  options = format_lib.Options(dtype="float16")
  written = folder_lib.write(
    tmp_path / "half", "params", model, options, beside={}
  )
  found = exported.read(tmp_path / "half")
  assert exported.fingerprint_of(found) == exported.fingerprint_of(
    written.model
  )
  assert exported.fingerprint_of(found) != exported.fingerprint_of(model)
  codec = codec_lib.Codec.load(tmp_path / "half")
  assert codec.fingerprint == exported.fingerprint_of(found)
  arrays = safetensors.load_file(tmp_path / "half" / exported.ARRAYS)
  assert {array.dtype.name for array in arrays.values()} == {"float16"}
  exact, beside = written.rows
  assert exact.passes and not exact.lossy
  assert beside.lossy and beside.audio > 0


def test_numbers_that_float16_does_not_reach_are_refused(model, tmp_path):
  loud = dataclasses.replace(model, vectors=model.vectors * np.float32(1e6))
  with pytest.raises(
    errors.InputError, match=r"codebooks/vectors reaches .*e\+"
  ):
    folder_lib.write(
      tmp_path / "x",
      "params",
      loud,
      format_lib.Options(dtype="float16"),
      beside={},
    )
  assert not (tmp_path / "x").exists()


def test_the_first_layers_alone_give_the_first_codes(model, made, tmp_path):
  options = format_lib.Options(num_quantizers=2)
  folder_lib.write(tmp_path / "two", "params", model, options, beside={})
  codec = codec_lib.Codec.load(tmp_path / "two")
  values = golden.read(made)
  np.testing.assert_array_equal(codec.encode(values.audio), values.codes[:, :2])
  for layers in (0, 4):
    with pytest.raises(errors.InputError, match="must be from 1 to the 3"):
      derived.first_layers(model, layers)


def test_half_precision_and_bfloat16_are_refused_where_they_cannot_be(model):
  bfloat16 = dataclasses.replace(
    CONFIG, model=dataclasses.replace(CONFIG.model, compute_dtype="bfloat16")
  )
  for name in formats.FORMATS:
    half = formats.refusal(name, CONFIG, format_lib.Options(dtype="float16"))
    brief = formats.refusal(name, bfloat16, format_lib.Options())
    if name == "params":
      assert half is None and brief is None
    else:
      assert "--dtype=float16 is for params" in half
      assert "model.compute_dtype=bfloat16" in brief


def test_golden_values_are_the_same_every_time_and_read_back(model, made):
  codec = random_codec.random_codec(CONFIG)[0]
  again, read = golden.make(codec), golden.read(made)
  for field in dataclasses.fields(read):
    np.testing.assert_array_equal(
      getattr(read, field.name), getattr(again, field.name)
    )
  assert len(read.audio) == 2 * 8_000 and np.abs(read.audio).max() == 0.5
  assert {0, 3} < {int(n) for n in read.layers}


def test_a_code_changes_where_the_distance_says(model):
  codec = random_codec.random_codec(CONFIG)[0]
  vectors = model.vectors.astype(np.float64)
  values = golden.make(codec)
  from soundstream_jax.model import soundstream

  net = soundstream.from_config(CONFIG)
  latents = net.apply(
    codec.variables, values.audio[None, :, None], method="encode"
  )[0]
  random = np.random.default_rng(0)
  for frame in range(0, len(values.codes), 50):
    residual = np.asarray(latents[frame], np.float64)
    away = random.normal(size=residual.shape)
    away /= np.linalg.norm(away)

    def code(point):
      return int(np.square(vectors[0] - point).sum(-1).argmin())

    # Nothing nearer changes the code, whatever the direction.
    nearer = residual + 0.99 * values.distance[frame, 0] * away
    assert code(nearer) == code(residual) == values.codes[frame, 0]


def test_of_codes_with_a_twin_rounding_alone_chooses(model):
  config = dataclasses.replace(
    CONFIG, model=dataclasses.replace(CONFIG.model, film="none")
  )
  codec, params, vectors = random_codec.random_codec(config)
  once = golden.make(codec)
  common = int(np.bincount(once.codes[:, 0]).argmax())
  vectors = vectors.copy()
  vectors[0, (common + 1) % 8] = vectors[0, common]
  twins = codec_lib.Codec(config, params, vectors, step=1, weights="ema")
  found = golden.make(twins)
  assert (found.distance[:, 0] == 0).mean() > 0.1
  assert (once.distance[:, 0] > 0).all()


@pytest.mark.parametrize(
  "name", ["web", pytest.param("hf", marks=pytest.mark.slow)]
)
def test_a_switch_that_cannot_be_turned_stands_as_it_was_written(
  name, model, made, tmp_path
):
  options = format_lib.Options(denoise=True)
  folder_lib.write(tmp_path / "on", name, model, options, beside={})
  checked = check.check(tmp_path / "on")
  assert checked.passes and checked.rows
  values = golden.read(tmp_path / "on")
  np.testing.assert_array_equal(values.codes, golden.read(made).denoised)
  assert values.denoised is None
  text = (tmp_path / "on" / folder_lib.README).read_text()
  code = text.split("```python\n")[1].split("```")[0]
  trained.run_code(code, tmp_path / "on")


def test_denoise_is_refused_where_the_switch_is_an_input_or_not_there(model):
  options = format_lib.Options(denoise=True)
  assert "(hf, web)" in formats.refusal("onnx", CONFIG, options)
  none = dataclasses.replace(
    CONFIG, model=dataclasses.replace(CONFIG.model, film="none")
  )
  for name in formats.FORMATS:
    assert "(model.film=none)" in formats.refusal(name, none, options)
