"""Spectra of waveforms: frames, STFT, magnitudes and mel filters.

Everything is float32 (complex64), or float64 for audio in float64. B: clips,
T: samples, N: frames, W: window in samples. Frame n covers the samples
[n * hop, n * hop + W); nothing is padded unless `centre` asks for it.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from soundstream_jax import precision
from soundstream_jax.audio import fourier, mel_scale

# Added to the power inside the square root: the slope of the magnitude stays
# finite at silence, and no magnitude is below 1e-4, so its logarithm is safe.
# For a window of 1024 that is noise 106 dB below full scale.
POWER_FLOOR = 1e-8


def frame(
  audio: jax.Array, *, window: int, hop: int, centre: bool = False
) -> jax.Array:
  """Cuts audio [B, T] into overlapping frames [B, N, W].

  Built from slices and a reshape: the gradient is a sum of slices, where an
  index gather would scatter.

  Args:
    window: samples per frame.
    hop: samples between the starts of frames.
    centre: pads window // 2 zeros on both sides, so that frame n is centred
      on sample n * hop. Without it a rest of less than a hop is dropped.

  Raises:
    ValueError: the audio is shorter than one window.
  """
  if centre:
    audio = jnp.pad(audio, ((0, 0), (window // 2, window // 2)))
  batch, samples = audio.shape
  if samples < window:
    raise ValueError(
      f"audio of {samples} samples is shorter than one window of {window}; "
      "use a longer clip or a shorter window"
    )
  frames = num_frames(samples, window=window, hop=hop)
  hops = -(-window // hop)  # hops that a frame touches
  needed = (frames + hops - 1) * hop
  audio = jnp.pad(audio, ((0, 0), (0, max(0, needed - samples))))[:, :needed]
  blocks = audio.reshape(batch, frames + hops - 1, hop)
  pieces = [blocks[:, i : i + frames] for i in range(hops)]
  return jnp.concatenate(pieces, axis=2)[:, :, :window]


def num_frames(samples: int, *, window: int, hop: int) -> int:
  """Returns N, the whole windows that fit into the samples."""
  return max(0, 1 + (samples - window) // hop)


def hann(window: int) -> np.ndarray:
  """Returns the periodic Hann window [W], float32."""
  phase = 2.0 * np.pi * np.arange(window) / window
  return (0.5 - 0.5 * np.cos(phase)).astype(np.float32)


def stft(
  audio: jax.Array, *, window: int, hop: int, centre: bool = False
) -> jax.Array:
  """Returns the STFT of audio [B, T] as complex64 [B, N, W // 2 + 1].

  Periodic Hann window, no scaling: a sine of amplitude a peaks at a * W / 4.

  Raises:
    ValueError: the audio is shorter than one window.
  """
  audio = precision.widened(audio)
  frames = frame(audio, window=window, hop=hop, centre=centre)
  weights = jnp.asarray(hann(window), frames.dtype)[None, None, :]
  return fourier.real(frames * weights)


def magnitude(spectrum: jax.Array) -> jax.Array:
  """Returns sqrt(re^2 + im^2 + POWER_FLOOR), float32, of any shape."""
  power = jnp.square(spectrum.real) + jnp.square(spectrum.imag)
  return jnp.sqrt(power + POWER_FLOOR)


def mel_spectrogram(
  audio: jax.Array,
  *,
  sample_rate_hz: int,
  window: int,
  hop: int,
  bins: int,
  centre: bool = False,
) -> jax.Array:
  """Returns mel magnitudes [B, N, bins] of audio [B, T]; none below 1e-4.

  Raises:
    ValueError: the audio is shorter than one window.
  """
  spectrum = stft(audio, window=window, hop=hop, centre=centre)
  magnitudes = magnitude(spectrum)
  filters = jnp.asarray(
    mel_filterbank(sample_rate_hz, window, bins), magnitudes.dtype
  )
  # Full float32 on accelerators, whose default is fewer bits.
  return jnp.einsum(
    "bnf,fm->bnm",
    magnitudes,
    filters,
    precision=lax.Precision.HIGHEST,
  )


def log_mel(
  audio: jax.Array, *, sample_rate_hz: int, window: int, hop: int, bins: int
) -> jax.Array:
  """Returns the natural log of mel magnitudes [B, N, bins], for pictures.

  Frames are centred: there is one for every hop, N = 1 + T // hop for an even
  window.
  """
  return jnp.log(
    mel_spectrogram(
      audio,
      sample_rate_hz=sample_rate_hz,
      window=window,
      hop=hop,
      bins=bins,
      centre=True,
    )
  )


def mel_filterbank(sample_rate_hz: int, window: int, bins: int) -> np.ndarray:
  """Returns triangular mel filters [W // 2 + 1, bins], float32.

  Slaney's scale from 0 Hz to the Nyquist frequency. Where a triangle's half
  is narrower than the spacing of the DFT it is widened to that spacing, so
  that no filter falls between two DFT bins and comes out empty: with 64 bins
  at 24 kHz plain triangles leave 22 filters empty for a window of 64 samples.
  A widened filter interpolates between neighbouring bins. The weights of each
  filter sum to 1: a mel value is a weighted mean of magnitudes.
  """
  spacing_hz = sample_rate_hz / window
  frequencies_hz = np.arange(window // 2 + 1) * spacing_hz
  edges_hz = mel_scale.edges_hz(sample_rate_hz / 2, bins)
  lower, centre, upper = edges_hz[:-2], edges_hz[1:-1], edges_hz[2:]
  rise_hz = np.maximum(centre - lower, spacing_hz)
  fall_hz = np.maximum(upper - centre, spacing_hz)
  offset_hz = frequencies_hz[:, None] - centre[None, :]
  rising = 1.0 + offset_hz / rise_hz[None, :]
  falling = 1.0 - offset_hz / fall_hz[None, :]
  weights = np.maximum(0.0, np.minimum(rising, falling))
  return (weights / weights.sum(axis=0, keepdims=True)).astype(np.float32)
