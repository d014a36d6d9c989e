"""Laws of clips: whole, in batches, as files, at every bitrate."""

import dataclasses
import doctest

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import soundstream_jax
from soundstream_jax import config as config_lib
from soundstream_jax import errors
from soundstream_jax.checkpoint import exported
from soundstream_jax.codec import codec as codec_lib
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
  """27.3 s: eleven blocks, the last one short, a frame not full."""
  noise = np.random.default_rng(0).standard_normal(27 * 8_000 + 2_411)
  return (0.3 * noise).astype(np.float32)


@pytest.fixture(autouse=True)
def _strict_promotion():
  with jax.numpy_dtype_promotion("strict"):
    yield


@dataclasses.dataclass(frozen=True)
class Whole:
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
    latents=np.asarray(latents[0]),
    codes=np.asarray(codes[0]),
    audio=np.asarray(decoded[0, :, 0]),
  )


def test_encode_is_the_networks_up_to_ties(
  codec, model, audio, whole, differ_at_near_ties_only
):
  codes = codec.encode(audio)
  assert len(codes) > 10 * 64  # more than ten blocks
  differ_at_near_ties_only(codes, whole.codes, whole.latents, model[1])


def test_decode_is_the_networks(codec, whole):
  decoded = codec.decode(whole.codes)
  assert decoded.dtype == np.float32
  np.testing.assert_allclose(decoded, whole.audio, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("samples", [0, 1, 319, 320, 321, 9_999])
def test_every_length_gives_the_frames_that_cover_it(codec, samples, audio):
  codes = codec.encode(audio[:samples])
  assert codes.shape == (-(-samples // 320), 4)
  assert codes.dtype == np.int32
  assert len(codec.decode(codes)) == len(codes) * 320


def test_a_clip_is_the_same_bits_alone_in_a_batch_and_filled_with_zeros(
  codec, audio
):
  lengths = (320 * 64 + 1, 7_000, 320 * 130)
  clips = [audio[:n] for n in lengths]
  alone = [codec.encode(clip) for clip in clips]
  filled = np.zeros((3, max(lengths)), np.float32)
  for row, clip in zip(filled, clips, strict=True):
    row[: len(clip)] = clip
  batch = codec.encode(jnp.asarray(filled))
  assert batch.shape == (3, 130, 4)
  listed = codec.encode(clips)
  heard = codec.decode(batch)
  assert heard.shape == (3, 130 * 320)
  for i, codes in enumerate(alone):
    # The last frame of a clip that is filled is the same: zeros fill both.
    np.testing.assert_array_equal(batch[i, : len(codes)], codes)
    np.testing.assert_array_equal(listed[i], codes)
    decoded = codec.decode(codes)
    np.testing.assert_array_equal(heard[i, : len(decoded)], decoded)
  np.testing.assert_array_equal(codec.decode(alone)[2], codec.decode(alone[2]))
  assert codec.encode([]) == codec.decode([]) == []


def test_short_inputs_are_the_start_of_long_ones(codec, audio):
  long, short = codec.encode(audio), codec.encode(audio[: 320 * 20])
  np.testing.assert_array_equal(long[:20], short)


def test_lost_frames_and_layers_are_those_of_a_stream(codec, audio):
  codes = codec.encode(audio[: 320 * 30])
  layers = np.full(30, 4)
  whole = codec.decode(codes)
  np.testing.assert_array_equal(codec.decode(codes, layers=layers), whole)
  layers[10:12], layers[20] = 0, 2
  heard = codec.decode(codes, layers=layers)
  np.testing.assert_array_equal(heard[: 320 * 10], whole[: 320 * 10])
  assert (heard[320 * 10 : 320 * 12] != whole[320 * 10 : 320 * 12]).any()
  fewer = np.where(np.arange(4) < layers[:, None], codes, 15)
  np.testing.assert_array_equal(codec.decode(fewer, layers=layers), heard)
  with pytest.raises(errors.InputError, match="layers up to 5"):
    codec.decode(codes, layers=layers + 1)


def test_bytes_give_the_codes_back(codec, audio):
  codes = codec.encode(audio[: 320 * 30 - 7])
  data = codec.to_bytes(codes, num_samples=320 * 30 - 7)
  np.testing.assert_array_equal(codec.from_bytes(data), codes)
  stereo = np.stack([codes[:, :2], codes[::-1, :2]])
  np.testing.assert_array_equal(
    codec.from_bytes(codec.to_bytes(stereo)), stereo
  )
  with pytest.raises(errors.InputError, match="do not have the 30 frames"):
    codec.to_bytes(codes, num_samples=320 * 31)
  with pytest.raises(errors.InputError, match="damaged"):
    codec.from_bytes(data[:-1] + b"x")


def test_another_models_bytes_are_refused(codec, model):
  params, vectors = model
  other = codec_lib.Codec(CONFIG, params, 2 * vectors, step=5, weights="ema")
  data = other.to_bytes(np.zeros((3, 4), np.int32))
  with pytest.raises(errors.InputError, match="not by this one"):
    codec.from_bytes(data)


def test_the_example_of_the_docstring_runs(random_codec, tmp_path, monkeypatch):
  config = dataclasses.replace(
    CONFIG, model=dataclasses.replace(CONFIG.model, strides=(2, 5))
  )
  _, params, vectors = random_codec(config)
  exported.write(
    tmp_path / "runs" / "speech",
    exported.Exported(config, params, vectors, step=5, weights="ema"),
  )
  monkeypatch.chdir(tmp_path)
  names = {"soundstream_jax": soundstream_jax, "np": np}
  (example,) = [
    test
    for test in doctest.DocTestFinder(recurse=False).find(
      codec_lib.Codec, "Codec", globs=names
    )
    if test.examples
  ]
  result = doctest.DocTestRunner().run(example)
  assert result.attempted >= 7 and result.failed == 0


def test_lower_bitrates_are_the_first_layers_exactly(codec, audio):
  full = codec.encode(audio)
  for layers, bitrate in enumerate(codec.bitrates, start=1):
    codes = codec.encode(audio, bitrate_bps=float(bitrate))
    np.testing.assert_array_equal(codes, full[:, :layers])
  assert codec.decode(full[:2, :2]).shape == (640,)


def test_properties_follow_from_the_configuration(codec):
  assert codec.sample_rate == 8_000
  assert codec.hop_samples == 320
  assert codec.frame_rate == 25
  assert codec.num_quantizers == 4
  assert codec.codebook_size == 16
  assert codec.bitrates == [100, 200, 300, 400]
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
    (np.zeros((3,), np.int32), r"takes codes \[F, q\]"),
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
