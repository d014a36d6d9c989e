"""Laws of the page with a model that takes noise away, at another rate."""

import numpy as np
import pytest

from soundstream_jax import config as config_lib
from soundstream_jax.audio import wav
from soundstream_jax.export import golden
from tests.browser import driving
from tests.codec import random_codec

pytestmark = pytest.mark.browser

RATE_HZ = 16_000


@pytest.fixture(scope="module", params=["encoder", "decoder"])
def film(request):
  """A random Codec with FiLM on one side."""
  config = config_lib.Config(
    audio=config_lib.Audio(sample_rate_hz=RATE_HZ),
    model=config_lib.Model(
      encoder_channels=4,
      decoder_channels=4,
      strides=(4, 5, 8),
      embedding_dim=16,
      film=request.param,
    ),
    quantizer=config_lib.Quantizer(num_quantizers=3, codebook_size=16),
  )
  return random_codec.random_codec(config)[0]


@pytest.fixture
def page(film, page_of):
  return page_of(film)


def test_its_checkbox_is_pythons_denoise(page, film, tmp_path):
  audio = golden.sound(RATE_HZ, film.hop_samples, 1.0)
  path = tmp_path / "voice.wav"
  wav.write(path, audio, RATE_HZ)
  page.give(path)
  samples, rate_hz = driving.floats(page.save("original"))
  assert rate_hz == RATE_HZ
  side = film.film
  heard = {}
  for denoise in (False, True):
    if denoise:
      page.check("denoise")
      page.done()
    on = {side: {"denoise": denoise}}
    codes = film.from_bytes(page.save("sstr"))
    expected = film.encode(samples[:, 0], **on.get("encoder", {}))
    np.testing.assert_array_equal(codes, expected)
    heard[denoise] = driving.floats(page.save("coded"))[0][:, 0]
    audio = film.decode(codes, **on.get("decoder", {}))
    scale = np.abs(audio).max()
    np.testing.assert_allclose(
      heard[denoise] / scale, audio / scale, rtol=0, atol=1e-4
    )
  assert np.abs(heard[True] - heard[False]).max() > 1e-3


def test_another_models_file_is_refused(page, codec, tmp_path):
  path = tmp_path / "theirs.sstr"
  path.write_bytes(codec.to_bytes(codec.encode(np.zeros(4_000, np.float32))))
  found = page.offer(path)
  assert codec.fingerprint.hex()[:12] in found
  assert "not by this page's" in found
