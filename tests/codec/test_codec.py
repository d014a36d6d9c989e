"""Laws of encoding and decoding in windows."""

import dataclasses

import jax
import numpy as np
import pytest

from soundstream_jax import config as config_lib
from soundstream_jax import errors
from soundstream_jax.codec import codec as codec_lib
from soundstream_jax.codec import windows
from soundstream_jax.model import soundstream

CONFIG = config_lib.Config(
  audio=config_lib.Audio(sample_rate_hz=8_000),
  model=config_lib.Model(
    encoder_channels=2, decoder_channels=2, strides=(8, 40), embedding_dim=8
  ),
  quantizer=config_lib.Quantizer(num_quantizers=4, codebook_size=16),
)


@pytest.fixture(scope="module")
def made(random_codec):
  return random_codec(CONFIG)


@pytest.fixture(scope="module")
def codec(made):
  return made[0]


@pytest.fixture(scope="module")
def model(made):
  return made[1:]


@pytest.fixture(scope="module")
def audio():
  """27.3 s: three windows, the last one short, a frame not full."""
  noise = np.random.default_rng(0).standard_normal(27 * 8_000 + 2_411)
  return (0.3 * noise).astype(np.float32)


@pytest.fixture(autouse=True)
def _strict_promotion():
  with jax.numpy_dtype_promotion("strict"):
    yield


@dataclasses.dataclass(frozen=True)
class Whole:
  frames: np.ndarray  # [F, hop]
  latents: np.ndarray  # [F, D]
  codes: np.ndarray  # [F, Q]
  audio: np.ndarray  # [F * hop]


@pytest.fixture(scope="module")
def whole(model, audio):
  """What the network makes of the whole file at once."""
  net = soundstream.from_config(CONFIG)
  variables = soundstream.variables(*model)
  padded = np.pad(audio, (0, -len(audio) % 320))
  latents = net.apply(variables, padded[None, :, None], method="encode")
  codes = net.apply(variables, latents, method="quantize").codes
  decoded = net.apply(
    variables,
    net.apply(variables, codes, method="dequantize"),
    method="decode",
  )
  return Whole(
    frames=padded.reshape(-1, 320),
    latents=np.asarray(latents[0]),
    codes=np.asarray(codes[0]),
    audio=np.asarray(decoded[0, :, 0]),
  )


def test_windowed_latents_equal_the_whole_files(model, whole):
  net = soundstream.from_config(CONFIG)
  variables = soundstream.variables(*model)

  @jax.jit
  def latents(frames):
    samples = frames.reshape(1, frames.size, 1)
    return net.apply(variables, samples, method="encode")[0]

  context = soundstream.context(CONFIG).encoder_frames
  assert len(whole.frames) > 8 * context
  windowed = windows.apply(
    latents, whole.frames, context_frames=context, window_frames=4 * context
  )
  np.testing.assert_allclose(windowed, whole.latents, rtol=1e-5, atol=1e-5)


def test_windowed_encode_equals_whole_file_encode_up_to_ties(
  codec, model, audio, whole, differ_at_near_ties_only
):
  codes = codec.encode(audio)
  assert len(codes) > 2 * 250  # more than two windows of ten seconds
  differ_at_near_ties_only(codes, whole.codes, whole.latents, model[1])


def test_windowed_decode_equals_whole_file_decode(codec, whole):
  decoded = codec.decode(whole.codes)
  assert decoded.dtype == np.float32
  np.testing.assert_allclose(decoded, whole.audio, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("samples", [0, 1, 319, 320, 321, 9_999])
def test_every_length_gives_the_frames_that_cover_it(codec, samples, audio):
  codes = codec.encode(audio[:samples])
  assert codes.shape == (-(-samples // 320), 4)
  assert codes.dtype == np.int32
  assert len(codec.decode(codes)) == len(codes) * 320


def test_short_inputs_share_the_start_of_long_ones(codec, audio):
  # Other lengths are other programs, so equality holds up to ties.
  long, short = codec.encode(audio), codec.encode(audio[: 320 * 20])
  assert (long[:20] == short).mean() > 0.99


def test_lower_bitrates_are_the_first_layers_exactly(codec, audio):
  full = codec.encode(audio)
  for layers, bitrate in enumerate(codec.bitrates_bps, start=1):
    codes = codec.encode(audio, bitrate_bps=float(bitrate))
    np.testing.assert_array_equal(codes, full[:, :layers])
  assert codec.decode(full[:2, :2]).shape == (640,)


def test_long_inputs_of_every_length_share_one_program(codec, audio):
  codec.encode(audio)
  programs = codec._encode._cache_size()
  for samples in (250 * 320 + 1, 2 * 250 * 320, len(audio) - 5_000):
    codec.encode(audio[:samples])
  assert codec._encode._cache_size() == programs


def test_properties_follow_from_the_configuration(codec):
  assert codec.sample_rate_hz == 8_000
  assert codec.hop_samples == 320
  assert codec.frame_rate_hz == 25
  assert codec.num_quantizers == 4
  assert codec.codebook_size == 16
  assert codec.bitrates_bps == [100, 200, 300, 400]
  assert (codec.step, codec.weights) == (5, "ema")
  assert len(codec.fingerprint) == 32


@pytest.mark.parametrize("bitrate", [150, 0, -1, 1e9, float("nan")])
def test_a_bitrate_that_does_not_exist_is_refused(codec, bitrate):
  with pytest.raises(errors.InputError, match="bitrate"):
    codec.encode(np.zeros(320, np.float32), bitrate_bps=bitrate)


@pytest.mark.parametrize(
  ("audio", "match"),
  [
    (np.zeros((320, 1), np.float32), "one channel"),
    (np.array([0, np.nan, 0], np.float32), "nan at sample 1"),
    (np.array([0, 0, -np.inf], np.float32), "-inf at sample 2"),
  ],
)
def test_audio_that_is_not_one_finite_channel_is_refused(codec, audio, match):
  with pytest.raises(errors.InputError, match=match):
    codec.encode(audio)


@pytest.mark.parametrize(
  ("codes", "match"),
  [
    (np.zeros((3, 5), np.int32), "q from 1 to 4"),
    (np.zeros((3,), np.int32), "q from 1 to 4"),
    (np.zeros((3, 2)), "no integers"),
    (np.full((3, 2), 16), "codebook size 16"),
    (np.full((3, 2), -1), "codebook size 16"),
  ],
)
def test_codes_that_the_model_does_not_have_are_refused(codec, codes, match):
  with pytest.raises(errors.InputError, match=match):
    codec.decode(codes)


def test_a_precision_that_codecs_do_not_serve_is_refused(model):
  config = dataclasses.replace(
    CONFIG, model=dataclasses.replace(CONFIG.model, compute_dtype="float64")
  )
  with pytest.raises(errors.InputError, match="float64"):
    codec_lib.Codec(config, *model, step=5, weights="ema")


@pytest.mark.parametrize("side", ["encoder", "decoder"])
def test_denoising_is_switched_on_the_side_of_the_flag(model, audio, side):
  params, vectors = model
  config = dataclasses.replace(
    CONFIG, model=dataclasses.replace(CONFIG.model, film=side)
  )
  rng = np.random.default_rng(1)
  film = {
    name: rng.normal(size=(2, 8)).astype(np.float32)
    for name in ("scale", "shift")
  }
  codec = codec_lib.Codec(
    config, {**params, "film": film}, vectors, step=5, weights="ema"
  )
  short = audio[:8_000]
  codes = codec.encode(short)
  if side == "encoder":
    assert np.any(codec.encode(short, denoise=True) != codes)
    with pytest.raises(errors.InputError, match="soundstream encode"):
      codec.decode(codes, denoise=True)
  else:
    assert np.any(codec.decode(codes, denoise=True) != codec.decode(codes))
    with pytest.raises(errors.InputError, match="soundstream decode"):
      codec.encode(short, denoise=True)


def test_a_model_without_film_does_not_denoise(codec, audio):
  with pytest.raises(errors.InputError, match=r"model\.film=none"):
    codec.encode(audio[:800], denoise=True)
