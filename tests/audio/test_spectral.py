"""Spectra against numpy and librosa, and their slopes at silence."""

import jax
import jax.numpy as jnp
import librosa
import numpy as np
import pytest

from soundstream_jax.audio import fourier, spectral

RATE_HZ = 24_000


@pytest.fixture(autouse=True)
def _strict():
  with jax.numpy_dtype_promotion("strict"):
    yield


def noise(*shape, seed=0):
  return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize(
  ("samples", "window", "hop"),
  [(100, 16, 4), (101, 16, 5), (64, 16, 16), (70, 16, 20), (16, 16, 4)],
)
def test_frames_are_slices_one_hop_apart(samples, window, hop):
  audio = noise(2, samples)
  frames = spectral.frame(jnp.asarray(audio), window=window, hop=hop)
  starts = range(0, samples - window + 1, hop)
  expected = np.stack([audio[:, s : s + window] for s in starts], axis=1)
  np.testing.assert_array_equal(frames, expected)
  count = spectral.num_frames(samples, window=window, hop=hop)
  assert frames.shape[1] == count == len(starts)


def test_the_gradient_of_frames_counts_how_many_cover_a_sample():
  slope = jax.grad(
    lambda x: jnp.sum(spectral.frame(x, window=16, hop=5)), argnums=0
  )(jnp.zeros((1, 103)))
  covered = np.zeros(103)
  for start in range(0, 103 - 16 + 1, 5):
    covered[start : start + 16] += 1
  np.testing.assert_array_equal(slope[0], covered)


def test_audio_shorter_than_a_window_is_refused():
  with pytest.raises(ValueError, match="15 samples is shorter than one window"):
    spectral.frame(jnp.zeros((1, 15)), window=16, hop=4)


def test_no_whole_window_means_no_frame():
  assert spectral.num_frames(3, window=16, hop=4) == 0


def test_hann_is_periodic():
  np.testing.assert_allclose(
    spectral.hann(1024),
    librosa.filters.get_window("hann", 1024, fftbins=True),
    atol=1e-7,
  )


@pytest.mark.parametrize(("window", "hop"), [(64, 16), (256, 100)])
@pytest.mark.parametrize("centre", [False, True])
def test_stft_equals_librosa(window, hop, centre):
  audio = noise(2, 1000)
  expected = librosa.stft(
    audio, n_fft=window, hop_length=hop, center=centre, pad_mode="constant"
  ).transpose(0, 2, 1)
  actual = jax.jit(
    lambda x: spectral.stft(x, window=window, hop=hop, centre=centre)
  )(audio)
  assert actual.dtype == jnp.complex64
  np.testing.assert_allclose(actual, expected, atol=1e-5 * window)


@pytest.mark.parametrize("window", [4, 15, 24, 100, 2048])
def test_the_transform_of_any_length_equals_numpys(window):
  audio = noise(1, 2 * window)
  spectrum = spectral.stft(jnp.asarray(audio), window=window, hop=window)
  frames = audio.reshape(1, 2, window) * spectral.hann(window)
  expected = np.fft.rfft(frames.astype(np.float64), axis=2)
  np.testing.assert_allclose(
    spectrum, expected, atol=1e-6 * np.max(np.abs(expected))
  )


@pytest.mark.parametrize("window", [15, 64, 2048])
def test_the_product_and_its_transpose_equal_the_transform(window):
  """What a TPU computes."""
  frames = noise(2, 3, window)

  def both(transform):
    spectrum, pull = jax.vjp(transform, frames)
    return spectrum, *pull(spectrum)

  for actual, expected in zip(
    jax.jit(both, static_argnums=0)(fourier.by_product),
    jax.jit(both, static_argnums=0)(fourier.real),
    strict=True,
  ):
    np.testing.assert_allclose(
      actual, expected, atol=3e-6 * np.max(np.abs(expected))
    )


def test_a_split_batch_is_analysed_where_it_lies():
  mesh = jax.make_mesh(
    (8,), ("data",), axis_types=(jax.sharding.AxisType.Auto,)
  )
  place = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("data"))
  slope = jax.grad(
    lambda x: jnp.sum(spectral.magnitude(spectral.stft(x, window=64, hop=16)))
  )
  program = jax.jit(slope, in_shardings=place, out_shardings=place)
  text = program.lower(jnp.zeros((8, 256))).compile().as_text()
  assert "all-" not in text
  assert "collective" not in text


def test_a_sine_peaks_at_a_quarter_of_the_window():
  sine = 0.5 * np.sin(2 * np.pi * 8 * np.arange(256) / 64).astype(np.float32)
  spectrum = spectral.stft(jnp.asarray(sine[None]), window=64, hop=16)
  np.testing.assert_allclose(
    spectral.magnitude(spectrum)[:, :, 8], 0.5 * 64 / 4, rtol=1e-5
  )


def test_bfloat16_audio_is_analysed_in_float32():
  audio = jnp.asarray(noise(1, 512)).astype(jnp.bfloat16)
  low = spectral.stft(audio, window=64, hop=16)
  full = spectral.stft(audio.astype(jnp.float32), window=64, hop=16)
  np.testing.assert_array_equal(low, full)


def test_magnitude_has_a_floor_and_a_finite_slope_at_silence():
  def total(audio):
    return jnp.sum(
      jnp.log(spectral.magnitude(spectral.stft(audio, window=64, hop=16)))
    )

  silence = jnp.zeros((1, 256))
  spectrum = spectral.stft(silence, window=64, hop=16)
  np.testing.assert_allclose(spectral.magnitude(spectrum), 1e-4, rtol=1e-6)
  assert np.isfinite(jax.grad(total)(silence)).all()
  assert np.isfinite(jax.grad(total)(1e-7 + silence)).all()


@pytest.mark.parametrize("rate_hz", [8_000, 16_000, 24_000, 48_000])
@pytest.mark.parametrize("window", [64, 128, 256, 512, 1024, 2048])
def test_no_mel_filter_is_empty_and_each_sums_to_one(rate_hz, window):
  filters = spectral.mel_filterbank(rate_hz, window, 64)
  assert filters.shape == (window // 2 + 1, 64)
  assert filters.dtype == np.float32
  assert (filters >= 0).all()
  assert (filters.max(axis=0) > 0).all()
  np.testing.assert_allclose(filters.sum(axis=0), 1.0, rtol=1e-6)


@pytest.mark.parametrize("window", [64, 256, 2048])
def test_mel_filters_are_ordered_by_frequency(window):
  filters = spectral.mel_filterbank(RATE_HZ, window, 64)
  centroid = (np.arange(window // 2 + 1)[:, None] * filters).sum(axis=0)
  assert (np.diff(centroid) > 0).all()


@pytest.mark.parametrize(
  ("rate_hz", "window", "bins"),
  [(24_000, 2048, 64), (24_000, 1024, 64), (16_000, 512, 40), (1_500, 512, 20)],
)
def test_unwidened_filters_are_librosa_triangles_up_to_their_sum(
  rate_hz, window, bins
):
  triangles = librosa.filters.mel(
    sr=rate_hz, n_fft=window, n_mels=bins, norm=None, dtype=np.float64
  ).T
  np.testing.assert_allclose(
    spectral.mel_filterbank(rate_hz, window, bins),
    triangles / triangles.sum(axis=0),
    atol=1e-6,
  )


def test_plain_triangles_would_be_empty_where_ours_are_not():
  """The defect that widening is for, as a number."""
  with pytest.warns(UserWarning, match="Empty filters"):
    plain = librosa.filters.mel(sr=RATE_HZ, n_fft=64, n_mels=64)
  assert (plain.max(axis=1) == 0).sum() > 10


def test_a_flat_spectrum_has_a_flat_mel_spectrum():
  impulse = np.zeros((1, 256), np.float32)
  impulse[0, 128] = 1.0  # the middle of the window, where Hann is 1
  mel = spectral.mel_spectrogram(
    jnp.asarray(impulse), sample_rate_hz=RATE_HZ, window=256, hop=64, bins=64
  )
  np.testing.assert_allclose(mel, 1.0, rtol=1e-5)


def test_log_mel_has_a_centred_frame_for_every_hop():
  log_mel = jax.jit(
    lambda x: spectral.log_mel(
      x, sample_rate_hz=RATE_HZ, window=1024, hop=256, bins=64
    )
  )(jnp.zeros((2, 2_560)))
  assert log_mel.shape == (2, 11, 64)
  np.testing.assert_allclose(log_mel, np.log(1e-4), rtol=1e-5)
