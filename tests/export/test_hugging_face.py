"""Laws of the format `hf`: transformers' EnCodec is the codec."""

import json

import numpy as np
import pytest
from safetensors import numpy as safetensors

from soundstream_jax.export import format as format_lib
from soundstream_jax.export import tensors
from soundstream_jax.export.hugging_face import format as hugging_face
from tests.codec import random_codec
from tests.export import variants

slow = pytest.mark.slow

# Of all variants, those that an EnCodec can be, with the switch's position.
MODELS = {
  "paper": ({}, False),
  "film folded, off": ({"model.film": "encoder"}, False),
  "film folded, on": ({"model.film": "encoder"}, True),
  "four stages, wide units": (
    variants.MODELS["four stages, wide units"],
    False,
  ),
  "another rate": (variants.MODELS["another rate"], False),
  "many layers": ({"quantizer.num_quantizers": 8}, False),
}


@pytest.fixture(scope="module", params=MODELS)
def pair(request, small_config, tmp_path_factory):
  """Returns (Codec, Runtime, position of the switch) of one model."""
  overrides, denoise = MODELS[request.param]
  folder = tmp_path_factory.mktemp("hf")
  return *variants.opened(
    hugging_face.FORMAT, small_config(**overrides), folder, denoise=denoise
  ), denoise


def files_of(config, **options):
  codec, *_ = random_codec.random_codec(config)
  return hugging_face.FORMAT.files(
    codec.as_exported(), format_lib.Options(**options)
  )


@slow
def test_codes_are_the_codecs(pair):
  codec, runtime, denoise = pair
  audio = variants.sound(codec)
  expected = codec.encode(audio, denoise=denoise)
  for layers in {1, 2, codec.num_quantizers - 1, codec.num_quantizers}:
    found = runtime.encode(audio, num_quantizers=layers)
    np.testing.assert_array_equal(found, expected[..., :layers])


@slow
def test_audio_is_the_codecs(pair):
  codec, runtime, _ = pair
  codes = codec.encode(variants.sound(codec))
  for layers in (1, codec.num_quantizers):
    some = codes[..., :layers]
    variants.assert_sounds_alike(runtime.decode(some), codec.decode(some))


@slow
def test_a_batch_is_its_clips_one_by_one(pair):
  codec, runtime, _ = pair
  audio = variants.sound(codec)
  codes = runtime.encode(audio, num_quantizers=3)
  np.testing.assert_array_equal(
    runtime.encode(audio[1:], num_quantizers=3), codes[1:]
  )


@slow
def test_of_audio_that_ends_within_a_frame_the_last_codes_alone_may_differ(
  pair,
):
  codec, runtime, denoise = pair
  audio = variants.sound(codec)[:, : -codec.hop_samples // 3]
  found = runtime.encode(audio, num_quantizers=codec.num_quantizers)
  expected = codec.encode(audio, denoise=denoise)
  assert found.shape == expected.shape
  np.testing.assert_array_equal(found[:, :-1], expected[:, :-1])


@slow
def test_a_channel_that_the_switch_takes_away_is_zeros_not_nan(
  small_config, tmp_path
):
  config = small_config(**{"model.film": "encoder"})
  codec, params, vectors = random_codec.random_codec(config)
  params["film"]["scale"][1, :3] = 0
  params["encoder"]["stage0_unit1"]["dilated"]["kernel"][..., 0] = 0
  codec = type(codec)(config, params, vectors, step=1, weights="ema")
  files = hugging_face.FORMAT.files(
    codec.as_exported(), format_lib.Options(denoise=True)
  )
  for name, data in files.items():
    (tmp_path / name).write_bytes(data)
  (runtime,) = hugging_face.FORMAT.runtimes["transformers"](tmp_path)
  audio = variants.sound(codec)
  np.testing.assert_array_equal(
    runtime.encode(audio, num_quantizers=3), codec.encode(audio, denoise=True)
  )


@slow
def test_the_extractor_of_the_folder_opens_too(small_config, tmp_path):
  import transformers

  config = small_config(**{"audio.sample_rate_hz": 8_000})
  for name, data in files_of(config).items():
    (tmp_path / name).write_bytes(data)
  extractor = transformers.AutoFeatureExtractor.from_pretrained(tmp_path)
  assert extractor.sampling_rate == 8_000 and extractor.feature_size == 1


@pytest.mark.parametrize(
  ("overrides", "says"),
  [
    ({"model.encoder": "mel"}, "model.encoder=mel"),
    ({"model.activation": "snake"}, "model.activation=snake"),
    ({"model.film": "decoder"}, "model.film=decoder"),
    ({"quantizer.kind": "fsq"}, "quantizer.kind=fsq"),
    (
      {"quantizer.kind": "low_dim", "quantizer.code_dim": 2},
      "quantizer.kind=low_dim",
    ),
    ({"model.decoder_channels": 6}, "model.decoder_channels=6"),
    (
      {"model.residual_hidden_ratio": 0.75},
      "model.residual_hidden_ratio=0.75",
    ),
    ({"model.residual_hidden_ratio": 2.0}, "model.residual_hidden_ratio=2.0"),
  ],
)
def test_what_no_encodec_has_is_refused_by_its_name(
  overrides, says, small_config
):
  config = small_config(**overrides)
  said = hugging_face.refusal(config, format_lib.Options())
  assert said.startswith(f"{says}: ") and "\n" not in said
  assert "Train with model." in said or "Train with quantizer." in said
  assert not any(row.hugging_face for row in tensors.table(config))


@pytest.mark.parametrize("name", MODELS)
def test_the_tensor_table_names_every_tensor_that_is_ours(name, small_config):
  overrides, denoise = MODELS[name]
  config = small_config(**overrides)
  assert hugging_face.refusal(config, format_lib.Options()) is None
  state = safetensors.load(
    files_of(config, denoise=denoise)["model.safetensors"]
  )
  named = {n for row in tensors.table(config) for n in row.hugging_face}
  assert named <= state.keys()
  # EnCodec's own: zeros, and what its codebooks learn by.
  rest = state.keys() - named
  assert all(
    ".lstm." in n or n.endswith(("embed_avg", "cluster_size", "inited"))
    for n in rest
  )
  assert not any(state[n].any() for n in rest if ".lstm." in n)


@pytest.mark.parametrize("rate_hz", [8_000, 16_000, 22_050, 24_000, 44_100])
def test_a_bandwidth_makes_encodec_use_as_many_layers(rate_hz, small_config):
  config = small_config(
    **{"audio.sample_rate_hz": rate_hz, "quantizer.num_quantizers": 32}
  )
  about = json.loads(files_of(config)["config.json"])
  of_layer = 4 * -(-rate_hz // 8)  # 16 codes, hop 8
  # transformers' two ways to count.
  for layers, kbps in enumerate(about["target_bandwidths"], 1):
    assert 1000 * kbps // of_layer == layers
    assert int(kbps * 1000 / of_layer) == layers
