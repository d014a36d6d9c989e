"""Laws of a run that begins with another one's arrays, or with an export's."""

import dataclasses
import functools
import json
import logging

import jax
import numpy as np
import pytest
import together
from safetensors import numpy as safetensors

from soundstream_jax import config as config_lib
from soundstream_jax import errors
from soundstream_jax.checkpoint import (
  array_file,
  exported,
  fingerprint,
  manager,
  training_file,
)
from soundstream_jax.cli import __main__ as command
from soundstream_jax.data import batch as batch_lib
from soundstream_jax.devices import distributed, sharding
from soundstream_jax.model import codebook, kmeans
from soundstream_jax.train import start
from soundstream_jax.train import state as state_lib

STEP = 7
# A generator, which is quicker to begin with than its discriminators.
ALONE = {
  "discriminator.stft_channels": 0,
  "discriminator.wave_scales": 0,
}


@dataclasses.dataclass
class Noise:
  """A loader of noise."""

  config: config_lib.Config
  seeks: int = 0

  def seek(self, batch):
    self.seeks += 1
    self._random = np.random.default_rng(batch)

  def __next__(self):
    shape = (self.config.batch_size, self.config.data.crop_samples, 1)
    noise = 0.1 * self._random.normal(size=shape)
    return batch_lib.Batch(noise.astype(np.float32))


@functools.cache
def _abstract(config, mesh):
  abstract = state_lib.abstract(config)
  return jax.tree.map(
    lambda leaf, place: jax.ShapeDtypeStruct(
      leaf.shape, leaf.dtype, sharding=place
    ),
    abstract,
    sharding.of_tree(abstract, mesh),
  )


def _begin(config):
  """Returns step 0 as training would start with it."""
  needed = config.mesh.data * config.mesh.fsdp
  mesh = distributed.make_mesh(config.mesh, jax.devices()[:needed])
  return start.begin(config, mesh, Noise(config), _abstract(config, mesh))


def _arrays(tree):
  return {
    jax.tree_util.keystr(path): np.asarray(leaf)
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
  }


def _assert_equal(one, other):
  one, other = _arrays(one), _arrays(other)
  assert one.keys() == other.keys()
  for name, array in one.items():
    np.testing.assert_array_equal(array, other[name], err_msg=name)


@pytest.fixture(scope="module")
def saved(small_config, tmp_path_factory):
  """A run's configuration, its state of random numbers, and its workdir."""
  config = small_config()
  random = np.random.default_rng(0)
  state = jax.tree.map(
    lambda leaf: np.abs(random.normal(size=leaf.shape)).astype(leaf.dtype),
    state_lib.abstract(config),
  )
  workdir = tmp_path_factory.mktemp("origin") / "run"
  checkpoints = manager.Checkpoints(workdir, config.checkpoint)
  checkpoints.save(STEP, state_lib.to_items(state), config=config, data={})
  checkpoints.wait()
  checkpoints.close()
  return config, state, workdir


@pytest.fixture(scope="module")
def exports(saved, tmp_path_factory):
  """Returns by name: 'plain', 'training' and 'raw', the last two for runs."""
  _, _, workdir = saved
  folder = tmp_path_factory.mktemp("exports")
  for name, words in (
    ("plain", ()),
    ("training", ("--with_training",)),
    ("raw", ("--with_training", "--weights=raw")),
  ):
    words = ["export", str(folder / name), f"--model={workdir}", *words]
    assert command.main(words) == 0
  return folder


@pytest.fixture(scope="module")
def known():
  """What `begun` has found, by configuration; nobody changes it."""
  return {}


@pytest.fixture
def begun(known, small_config, caplog):
  """Returns begun(path, **overrides) -> the state, and what the log says."""

  def begin(path, **overrides):
    config = small_config(init_from=str(path), **overrides)
    if config not in known:
      start._check_init_from(config)
      caplog.clear()
      with caplog.at_level(logging.INFO, logger="absl"):
        state = _begin(config)
      lines = [record.getMessage() for record in caplog.records]
      lines = [line for line in lines if line.startswith("init_from=")]
      known[config] = state, {line.split(": ")[1]: line for line in lines}
    return known[config]

  return begin


def test_a_run_begins_with_all_that_another_one_has_learnt(saved, begun):
  _, state, workdir = saved
  found, told = begun(workdir)
  for name in ("params", "ema_params", "codebooks", "disc_params"):
    _assert_equal(getattr(found, name), getattr(state, name))
  fresh = _arrays((found.step, found.opt_state, found.disc_opt_state))
  assert not any(array.any() for array in fresh.values())
  assert told.keys() == {"taken", "left fresh", "not used"}
  assert "averaged and raw generator" in told["taken"]
  assert "codebooks 1 to 3 with their statistics" in told["taken"]
  assert "discriminators stft, wave_0" in told["taken"]
  assert "optimizer states" in told["left fresh"]
  assert told["not used"].endswith("nothing")


@pytest.mark.parametrize("name", ["training", "raw"])
def test_an_export_with_training_is_as_good_as_the_workdir(
  name, saved, exports, begun
):
  _, _, workdir = saved
  _assert_equal(begun(exports / name)[0], begun(workdir)[0])


def test_an_export_gives_its_model_to_both_kinds_of_parameters(
  saved, exports, begun
):
  _, state, _ = saved
  found, told = begun(exports / "plain")
  for name in ("params", "ema_params"):
    _assert_equal(getattr(found, name), state.ema_params)
  _assert_equal(found.codebooks.vectors, state.codebooks.vectors)
  # The first update moves no vector by itself.
  np.testing.assert_allclose(
    codebook.means(found.codebooks.counts, found.codebooks.sums),
    state.codebooks.vectors,
    rtol=1e-5,
  )
  assert "statistics of codebooks 1 to 3" in told["left fresh"]
  assert "discriminator stft" in told["left fresh"]


def test_what_a_run_begins_with_is_the_model_of_its_origin(
  saved, exports, begun
):
  config, _, workdir = saved
  model = exported.read(exports / "plain")
  expected = fingerprint.compute(model.config, model.params, model.vectors)
  for path in (workdir, exports / "plain", exports / "training"):
    found, _ = begun(path, **ALONE)
    vectors = found.codebooks.vectors
    assert fingerprint.compute(config, found.ema_params, vectors) == expected


def test_codecs_and_their_fingerprint_see_nothing_of_the_file_for_training(
  exports,
):
  plain, training = exports / "plain", exports / "training"
  for name in (exported.ARRAYS, exported.ABOUT):
    assert (plain / name).read_bytes() == (training / name).read_bytes()
  assert {path.name for path in training.iterdir()} == {
    *(path.name for path in plain.iterdir()),
    training_file.NAME,
  }


def test_an_export_of_an_export_keeps_the_file_for_training(
  exports, tmp_path, capsys
):
  words = ["--with_training", f"--model={exports / 'training'}"]
  assert command.main(["export", str(tmp_path / "copy"), *words]) == 0
  data = (exports / "training" / training_file.NAME).read_bytes()
  assert f"bytes and {len(data)} for training" in capsys.readouterr().out
  assert (tmp_path / "copy" / training_file.NAME).read_bytes() == data
  words = ["--with_training", f"--model={exports / 'plain'}"]
  assert command.main(["export", str(tmp_path / "none"), *words]) == 2
  assert "without training.safetensors" in capsys.readouterr().err
  assert not (tmp_path / "none").exists()


@together.small_arrays_are_split()
def test_several_devices_begin_with_what_one_does(exports, begun):
  one, _ = begun(exports / "training")
  several, _ = begun(exports / "training", **{"mesh.data": 2, "mesh.fsdp": 2})
  assert not all(leaf.is_fully_replicated for leaf in jax.tree.leaves(several))
  _assert_equal(one, several)


def test_an_origin_is_only_read(saved, exports, begun):
  def files():
    return {
      path: (path.stat().st_mtime_ns, path.read_bytes())
      for folder in (saved[2], exports)
      for path in folder.rglob("*")
      if path.is_file()
    }

  before = files()
  # Not with these arguments by another test.
  begun(saved[2], seed=1, **ALONE)
  begun(exports / "training", seed=1, **ALONE)
  assert files() == before


def test_more_layers_are_fitted_to_what_those_of_the_origin_leave(
  saved, exports, begun
):
  _, state, _ = saved
  six = {"quantizer.num_quantizers": 6, **ALONE}
  found, told = begun(exports / "training", **six)
  kept = jax.tree.map(lambda leaf: leaf[:3], found.codebooks)
  _assert_equal(kept, state.codebooks)
  assert "codebooks 1 to 3 with" in told["taken"]
  assert (
    "codebooks 4 to 6 ((6, 16, 8) here, (3, 16, 8) there)"
    in (told["left fresh"])
  )
  # Each of them is in use, and agrees with its moving averages.
  later = jax.tree.map(lambda leaf: leaf[3:], found.codebooks)
  assert (np.asarray(later.counts).sum(axis=-1) > 0).all()
  np.testing.assert_allclose(
    codebook.means(later.counts, later.sums), later.vectors, rtol=1e-3
  )
  drawn, _ = begun(
    exports / "training", **six, **{"quantizer.kmeans_batches": 0}
  )
  _assert_equal(jax.tree.map(lambda leaf: leaf[:3], drawn.codebooks), kept)
  assert np.asarray(drawn.codebooks.vectors)[3:].any(axis=-1).all()


def test_layers_fitted_in_two_goes_are_those_of_one():
  frames = np.random.default_rng(0).normal(size=(200, 4)).astype(np.float32)
  options = {
    "num_quantizers": 4,
    "size": 8,
    "iterations": 5,
    "frames_per_batch": 200.0,
  }
  key = jax.random.key(0)
  whole = kmeans.fit_layers(frames, key, **options)
  rest = kmeans.fit_layers(frames, key, before=whole.vectors[:2], **options)
  _assert_equal(rest, jax.tree.map(lambda leaf: leaf[2:], whole))


def test_fewer_layers_are_the_first_ones(saved, exports, begun):
  _, state, _ = saved
  found, told = begun(
    exports / "training", **ALONE, **{"quantizer.num_quantizers": 2}
  )
  _assert_equal(
    found.codebooks, jax.tree.map(lambda leaf: leaf[:2], state.codebooks)
  )
  assert "codebook 3 of (3, 16, 8)" in told["not used"]


def test_codebooks_of_another_size_start_fresh_and_networks_do_not(
  saved, exports, begun
):
  _, state, _ = saved
  found, told = begun(
    exports / "training", **ALONE, **{"quantizer.codebook_size": 8}
  )
  _assert_equal(found.params, state.params)
  assert (np.asarray(found.codebooks.counts).sum(axis=-1) > 0).all()
  assert (
    "codebooks 1 to 3 ((3, 8, 8) here, (3, 16, 8) there)"
    in (told["left fresh"])
  )
  assert "codebooks 1 to 3 of" in told["not used"]


def test_film_is_fresh_unless_it_is_in_the_same_place(
  small_config, saved, begun, tmp_path
):
  _, state, workdir = saved
  found, told = begun(workdir, **ALONE, **{"model.film": "encoder"})
  film = _arrays(found.params["film"])
  for name in ("params", "ema_params"):
    rest = {k: v for k, v in getattr(found, name).items() if k != "film"}
    _assert_equal(rest, getattr(state, name))
  # Without the condition it is the identity: the model is its origin's.
  assert (film["['scale']"][0] == 1).all() and not film["['shift']"].any()
  assert "generator film/scale ((2, 8) here, none there)" in told["left fresh"]

  other = small_config(**ALONE, **{"model.film": "encoder"})
  items = state_lib.to_items(
    jax.tree.map(
      lambda leaf: np.full(leaf.shape, 2, leaf.dtype),
      state_lib.abstract(other),
    )
  )
  checkpoints = manager.Checkpoints(tmp_path / "film", other.checkpoint)
  checkpoints.save(STEP, items, config=other, data={})
  checkpoints.wait()
  checkpoints.close()
  kept, _ = begun(tmp_path / "film", **ALONE, **{"model.film": "encoder"})
  assert (np.asarray(kept.params["film"]["scale"]) == 2).all()
  moved, told = begun(tmp_path / "film", **ALONE, **{"model.film": "decoder"})
  assert not (np.asarray(moved.params["film"]["scale"]) == 2).any()
  assert "generator film/scale (2, 8)" in told["not used"]
  _, told = begun(tmp_path / "film", **ALONE)
  assert "generator film/scale (2, 8)" in told["not used"]


def test_a_discriminator_is_taken_whole_or_not_at_all(saved, exports, begun):
  _, state, _ = saved
  found, told = begun(
    exports / "training",
    **{"discriminator.stft_channels": 4, "discriminator.wave_scales": 2},
  )
  _assert_equal(found.disc_params["wave_0"], state.disc_params["wave_0"])
  assert "discriminators wave_0" in told["taken"]
  assert "discriminator stft (stft/" in told["left fresh"]
  assert "discriminator wave_1" in told["left fresh"]
  assert "discriminator stft" in told["not used"]
  _, told = begun(exports / "training", **ALONE)
  assert "discriminator stft; discriminator wave_0" in told["not used"]


def test_too_few_frames_for_the_codebooks_that_are_fitted_are_one_line(
  exports, begun
):
  with pytest.raises(errors.InputError, match="800 frames for 1024 codes"):
    begun(exports / "training", **{"quantizer.codebook_size": 1024})
  few = {"data.crop_samples": 64, "batch_size": 1, **ALONE}
  begun(exports / "training", **few)
  with pytest.raises(errors.InputError, match="8 frames for 16 codes"):
    begun(exports / "training", **few, **{"quantizer.num_quantizers": 4})


def _flip(path):
  data = bytearray(path.read_bytes())
  data[-1] ^= 1
  path.write_bytes(data)


def _rewrite(path, *, without="", **changes):
  """Writes the file with other arrays, or something else about them."""
  arrays, metadata = array_file.load(path)
  arrays.pop(without, None)
  about = {"sha256": training_file._digest(arrays)} | changes
  about = json.loads(metadata["about"]) | about
  path.write_bytes(safetensors.save(arrays, {"about": json.dumps(about)}))


@pytest.mark.parametrize(
  ("damage", "match"),
  [
    (_flip, "was changed since it was written"),
    (lambda path: path.write_bytes(b""), "cannot be read"),
    (lambda path: path.write_bytes(b"\xff" * 64), "cannot be read"),
    (lambda path: _rewrite(path, format_version=2), "has format version 2"),
    (lambda path: _rewrite(path, fingerprint="00"), "belongs to the model 00"),
    (lambda path: _rewrite(path, sha256="00"), "was changed since it was"),
    (
      lambda path: _rewrite(path, without="codebooks/sums"),
      "codebooks/sums is missing",
    ),
    (
      lambda path: path.write_bytes(safetensors.save({})),
      "is not a file for training",
    ),
  ],
)
def test_damage_of_the_file_for_training_is_one_line(
  damage, match, exports, tmp_path, begun
):
  for path in (exports / "training").iterdir():
    (tmp_path / path.name).write_bytes(path.read_bytes())
  damage(tmp_path / training_file.NAME)
  with pytest.raises(errors.InputError, match=match) as error:
    begun(tmp_path)
  assert str(tmp_path) in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
  "field", ["model.encoder_channels", "audio.sample_rate_hz"]
)
def test_another_generator_is_refused_with_the_field(
  field, small_config, exports, begun
):
  value = config_lib.get(small_config(), field)
  with pytest.raises(errors.InputError, match=f"{field}={value}, this run"):
    begun(exports / "training", **{field: 2 * value})
