"""Laws of the functions that leave: they are the codec, of any option."""

import jax
import numpy as np
import pytest

from soundstream_jax.export import blocks as blocks_lib
from soundstream_jax.export import functions
from tests.codec import random_codec
from tests.export import variants

FRAMES, BLOCK = 45, 3
# The others differ in sizes alone, which formats that are slow to write try.
SIZES = {"mel of more hops", "fsq of an odd bit", "other widths"}


@pytest.mark.parametrize("name", sorted(variants.MODELS.keys() - SIZES))
def test_every_option_leaves(name, small_config):
  codec, *_ = random_codec.random_codec(small_config(**variants.MODELS[name]))
  model = codec.as_exported()
  audio = variants.sound(codec, frames=FRAMES)
  layers = variants.losses(codec, frames=FRAMES)
  most = codec.num_quantizers
  switched = {functions.encode: "encoder", functions.decode: "decoder"}
  for denoise in {False, codec.film != "none"}:
    on = {side: denoise and codec.film == side for side in switched.values()}
    codes = codec.encode(audio, denoise=on["encoder"])
    sound = codec.decode(codes, denoise=on["decoder"])
    for function, sizes, given, expected in (
      (functions.encode, (2, FRAMES), audio, codes),
      (functions.decode, (2, FRAMES, most), codes, sound),
    ):
      program = function(model, *sizes)
      found = _call(program, denoise, given)
      assert ("denoise" in program.inputs) == (codec.film == switched[function])
      if expected is codes:
        np.testing.assert_array_equal(found, codes)
      else:
        variants.assert_sounds_alike(np.asarray(found), sound)
    found = _stream(functions.encode_step, model, denoise, audio)
    np.testing.assert_array_equal(found, codes)
    found = _stream(functions.decode_step, model, denoise, codes, layers)
    expected = codec.decode(codes, layers=layers, denoise=on["decoder"])
    variants.assert_sounds_alike(found, expected)


@pytest.mark.parametrize("name", ["paper", "mel", "low_dim"])
def test_a_state_fits_blocks_of_every_size_and_any_number_of_streams(
  name, small_config
):
  codec, *_ = random_codec.random_codec(small_config(**variants.MODELS[name]))
  model = codec.as_exported()
  for step in (functions.encode_step, functions.decode_step):
    sizes = {
      functions.state_size(step(model, streams, frames))
      for frames in (1, 5)
      for streams in (1, 3)
    }
    assert len(sizes) == 1


def test_a_file_is_cut_into_the_largest_blocks_first():
  assert blocks_lib.cut(75, (1, 8, 32)) == [32, 32, 8, 1, 1, 1]
  assert blocks_lib.cut(0, (1, 8)) == []


def _call(program, denoise, *arrays):
  arrays = dict(zip(program.inputs, arrays, strict=False))
  if "denoise" in program.inputs:
    arrays["denoise"] = np.full(2, denoise)
  for name, like in program.inputs.items():
    assert arrays[name].shape == like.shape
    assert arrays[name].dtype == like.dtype
  return jax.jit(program.call)(*arrays.values())


def _stream(step, model, denoise, *arrays):
  program = step(model, 2, BLOCK)
  jitted = jax.jit(program.call)

  def one(frames, state, *block):
    assert frames == BLOCK
    inputs = [state, *block]
    if "denoise" in program.inputs:
      inputs.append(np.full(2, denoise))
    return jitted(*inputs)

  zeros = np.zeros((2, functions.state_size(program)), np.float32)
  blocks = [BLOCK] * (FRAMES // BLOCK)
  return blocks_lib.run(one, zeros, blocks, *arrays)
