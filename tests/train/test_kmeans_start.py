"""Laws of the k-means start: frames stay on their devices, and are enough."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from soundstream_jax.devices import distributed, sharding
from soundstream_jax.launch.preflight import hlo_text
from soundstream_jax.model import soundstream
from soundstream_jax.settings import constraints
from soundstream_jax.train import kmeans_start
from soundstream_jax.train import state as state_lib

MESHES = [(1, 1), (8, 1), (4, 2)]
# 200 frames a clip, of which 64 are enough: 256 a code, of 16 clips.
ENOUGH = {
  "batch_size": 8,
  "quantizer.kmeans_batches": 2,
  "quantizer.codebook_size": 4,
}


def _built(small_config, data, fsdp, **more):
  config = small_config(
    **{**ENOUGH, "mesh.data": data, "mesh.fsdp": fsdp, **more}
  )
  devices = jax.devices()[: data * fsdp]
  return config, distributed.make_mesh(config.mesh, devices)


def _audio(config, seed=0):
  shape = (config.batch_size, config.data.crop_samples, 1)
  return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def _programs(config, mesh):
  """Returns the compiled encoder, and what it hears of noise in two batches."""
  encode, arguments = kmeans_start.build_encode(config, mesh)
  encode = encode.lower(*arguments).compile()
  place = [jax.tree.map(lambda leaf: leaf.sharding, a) for a in arguments]
  params = soundstream.init(config, jax.random.key(0))
  given = (
    jax.device_put(params, place[0]),
    jax.device_put(_audio(config), place[1]),
  )
  return encode, [
    encode(*given, jax.device_put(np.int32(number), place[2]))
    for number in range(2)
  ]


@pytest.fixture(scope="module")
def heard(small_config):
  return {mesh: _programs(*_built(small_config, *mesh)) for mesh in MESHES}


@pytest.mark.parametrize(
  ("batches", "size", "each"),
  [(2, 16, 200), (3, 16, 170), (2, 4, 64), (99, 2, 1), (0, 4, 200)],
)
def test_k_means_looks_at_256_frames_a_code_at_most(
  small_config, batches, size, each
):
  """All of 200 frames of each of 8 clips a batch, or a share of every clip."""
  config = small_config(
    **{
      **ENOUGH,
      "quantizer.kmeans_batches": batches,
      "quantizer.codebook_size": size,
    }
  )
  assert constraints.kmeans_frames_per_clip(config) == each
  assert constraints.kmeans_frames(config) == each * 8 * batches
  # Of every clip one at least.
  assert each * 8 * batches <= max(256 * size, 8 * batches)


def test_the_frames_are_of_every_clip_as_many_in_their_order(
  heard, small_config
):
  _, some = heard[1, 1]
  all_of_them = {"quantizer.codebook_size": 16}
  _, whole = _programs(*_built(small_config, 1, 1, **all_of_them))
  assert whole[0].shape[:2] == (8, 200)
  places = []
  for frames in some:
    assert frames.shape[:2] == (8, 64)
    for few, many in zip(np.asarray(frames), np.asarray(whole[0]), strict=True):
      same = np.all(np.isclose(few[:, None], many[None], atol=1e-5), axis=-1)
      places.append([int(np.flatnonzero(row)[0]) for row in same])
      assert np.all(np.diff(places[-1]) > 0)
  # Of all of the clip; of each clip and in every batch others.
  assert np.min(places) < 20 and np.max(places) > 180
  assert len({tuple(place) for place in places}) == 16


@pytest.mark.parametrize("mesh", MESHES[1:])
def test_the_same_frames_are_heard_on_any_number_of_devices(heard, mesh):
  (_, one), (_, many) = heard[1, 1], heard[mesh]
  for ours, theirs in zip(many, one, strict=True):
    assert len({str(shard.index) for shard in ours.addressable_shards}) == 8
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)


def _planted(config, seed=0):
  """Frames around as many points as there are codes."""
  rng = np.random.default_rng(seed)
  dim, size = config.model.embedding_dim, config.quantizer.codebook_size
  labels = rng.integers(0, size, (config.batch_size, 200))
  frames = 3 * rng.normal(size=(size, dim))[labels]
  return (frames + 0.1 * rng.normal(size=frames.shape)).astype(np.float32)


def _fitted(config, mesh, layers=0):
  fit, (frames, codebooks, params) = kmeans_start.build(
    config, mesh, layers=layers
  )
  frames = tuple(
    jax.device_put(_planted(config, number), leaf.sharding)
    for number, leaf in enumerate(frames)
  )
  start, params = (
    jax.tree.map(lambda a: jax.device_put(np.ones(a.shape, a.dtype)), tree)
    for tree in (codebooks, params)
  )
  return fit(frames, start, params)


@pytest.mark.parametrize(("data", "fsdp"), MESHES[1:])
def test_codebooks_are_the_same_on_any_number_of_devices(
  small_config, data, fsdp
):
  more = {"quantizer.codebook_size": 64, "quantizer.num_quantizers": 1}
  one = _fitted(*_built(small_config, 1, 1, **more))
  many = _fitted(*_built(small_config, data, fsdp, **more))
  np.testing.assert_allclose(many.vectors, one.vectors, rtol=1e-4, atol=1e-5)
  np.testing.assert_array_equal(many.counts, one.counts)
  # Of one batch: 8 clips of 200 frames.
  np.testing.assert_allclose(np.sum(many.counts), 1600, rtol=1e-5)


def test_first_layers_stay_as_they_are(small_config):
  found = _fitted(*_built(small_config, 8, 1), layers=2)
  for leaf in jax.tree.leaves(found):
    np.testing.assert_array_equal(leaf[:2], np.ones_like(leaf[:2]))
    assert np.any(np.asarray(leaf[2:]) != 1)


@pytest.fixture(scope="module")
def compiled(small_config):
  """The program, of frames that are much larger than codebooks."""
  found = {}
  for data, fsdp in MESHES:
    config, mesh = _built(
      small_config,
      *(data, fsdp),
      **{"model.embedding_dim": 128, "quantizer.codebook_size": 64},
    )
    fit, arguments = kmeans_start.build(config, mesh)
    found[data, fsdp] = config, arguments, fit.lower(*arguments).compile()
  return found


def _moved(program):
  """Returns the instructions that move something between devices."""
  computations = hlo_text.parse(program.as_text()).computations.values()
  return [
    instruction
    for computation in computations
    for instruction in computation.instructions.values()
    if instruction.opcode.removesuffix("-start")
    in ("all-gather", "all-reduce", "all-to-all", "collective-permute")
  ]


@pytest.mark.parametrize("mesh", MESHES[1:])
def test_no_frames_leave_their_device(compiled, mesh):
  config, _, program = compiled[mesh]
  frames = constraints.kmeans_frames(config)
  size, dim = config.quantizer.codebook_size, config.model.embedding_dim
  # What one device holds of them is twice as many numbers as either of these.
  largest = max(frames, size * (dim + 1))
  assert frames * dim / 8 > 1.9 * largest
  moved = _moved(program)
  assert moved
  for instruction in moved:
    numbers = sum(array.size for array in instruction.arrays)
    assert numbers <= largest, instruction


def test_a_device_chooses_the_frames_of_its_clips_alone(heard):
  encode, _ = heard[8, 1]
  assert not _moved(encode)


def test_eight_devices_need_an_eighth_of_the_memory_each(compiled):
  def needed(mesh):
    _, _, program = compiled[mesh]
    analysis = program.memory_analysis()
    return analysis.argument_size_in_bytes + analysis.temp_size_in_bytes

  one = needed((1, 1))
  for mesh in MESHES[1:]:
    print(f"{mesh}: {needed(mesh) / one:.3f}")
    assert needed(mesh) < one / 4


def test_batches_are_heard_one_at_a_time(small_config):
  config, mesh = _built(small_config, 1, 1)
  state = state_lib.init(
    config, sharding.of_tree(state_lib.abstract(config), mesh)
  )
  given = []

  def batches():
    for number in range(2):
      given.append(number)
      yield jnp.asarray(_audio(config, number))

  found = kmeans_start.initialise(config, mesh, state, batches())
  assert given == [0, 1]
  assert np.all(np.isfinite(found.codebooks.vectors))
