"""Kinds of example: from a record and random numbers to a training example.

The paper's mixtures (sections IV-A and III-F): clean speech; speech with noise,
both as random crops with a peak of 1, the noise at a gain uniform in dB; music;
noise. Ours are the reverberant kinds, silence avoidance, filters, and what is
done about narrow bands.

An example is a function of its record and of the generator it is given, so
also of (seed, index). In numpy: this runs in worker processes, and loads
neither jax nor Grain.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import scipy.fft
import scipy.signal

from soundstream_jax import config as config_lib
from soundstream_jax.audio import waveform
from soundstream_jax.data import batch as batch_lib
from soundstream_jax.data import kinds

# A crop below this level (RMS of full scale 1) is drawn again; of so many
# crops that are all silent the loudest is taken.
SILENCE_RMS = 1e-3
CROPS = 4
# Peaks are divided by no less: silence stays silence.
LEAST_PEAK = 1e-3
# Speech that ends below this share of the band gets noise that ends there too.
# Files of 22.05 kHz reach beyond it at 24 kHz; those of 16 kHz do not.
WIDE_BAND = 0.85
# Coefficients of random filters (Valin, arXiv 1709.08243, section III-C).
FILTER_BOUND = 3 / 8
LONGEST_ROOM_SECONDS = 1.0
# Transforms that pocketfft computes at once: float32 in 128 bits.
_LANES = 4


@dataclasses.dataclass(frozen=True)
class Pool:
  """Records of several datasets, drawn by their weights."""

  sources: Sequence[Any]
  weights: tuple[float, ...]

  def draw(self, rng: np.random.Generator) -> Mapping[str, Any]:
    edges = np.cumsum(self.weights)
    chosen = np.searchsorted(edges, rng.random() * edges[-1], side="right")
    source = self.sources[min(int(chosen), len(self.sources) - 1)]
    return source[int(rng.integers(len(source)))]


@dataclasses.dataclass(frozen=True)
class Example:
  """Makes an example of one kind; a callable for Grain's `random_map`."""

  config: config_lib.Config
  kind: kinds.Kind
  noise: Pool | None = None
  rooms: Pool | None = None

  def __call__(
    self, record: Mapping[str, Any], rng: np.random.Generator
  ) -> batch_lib.Batch:
    """{audio: int16 [N], ...} -> one example, within full scale."""
    data = self.config.data
    voice = crop(record["audio"], data.crop_samples, rng)
    voice = self._filtered(voice, rng)
    if self.kind.reverberant:
      voice = reverberate(voice, self._room(rng))
    heard = voice
    if self.kind.noisy:
      voice = normalise_peak(voice)
      heard = self._noise(record, rng)
      heard += voice
    gain = level(heard, voice, data.gain_db, rng)
    denoise = self.kind.flag and rng.random() < data.denoise_share
    audio = (heard * gain)[:, None]
    return batch_lib.of(
      self.config,
      audio=audio,
      target=(voice * gain)[:, None] if denoise else audio,
      denoise=np.bool_(denoise),
    )

  def _noise(
    self, record: Mapping[str, Any], rng: np.random.Generator
  ) -> np.ndarray:
    """Draws noise for a record of speech: float32 [T]."""
    data = self.config.data
    noise = crop(
      self.noise.draw(rng)["audio"], data.crop_samples, rng, repeat=True
    )
    noise = self._filtered(noise, rng)
    half = self.config.audio.sample_rate_hz / 2
    bandwidth_hz = record.get("bandwidth_hz") or half
    if bandwidth_hz < WIDE_BAND * half:
      noise = low_pass(noise, bandwidth_hz / half)
    gain = 10 ** (rng.uniform(*data.noise_gain_db) / 20)
    return normalise_peak(noise, peak=gain)

  def _room(self, rng: np.random.Generator) -> np.ndarray:
    most = round(LONGEST_ROOM_SECONDS * self.config.audio.sample_rate_hz)
    return direct_sound_first(
      waveform.to_float32(self.rooms.draw(rng)["audio"])
    )[:most]

  def _filtered(
    self, audio: np.ndarray, rng: np.random.Generator
  ) -> np.ndarray:
    if rng.random() >= self.config.data.filter_share:
      return audio
    return random_filter(audio, rng)


def crop(
  pcm: np.ndarray,
  length: int,
  rng: np.random.Generator,
  *,
  repeat: bool = False,
) -> np.ndarray:
  """int16 [N] -> float32 [length], a random part that is not silent.

  A shorter record lies at a random place in zeros, or is repeated.
  """
  if len(pcm) < length and repeat:
    at = int(rng.integers(len(pcm)))
    return waveform.to_float32(np.resize(np.roll(pcm, -at), length))
  if len(pcm) <= length:
    padded = np.zeros(length, np.float32)
    at = int(rng.integers(length - len(pcm) + 1))
    padded[at : at + len(pcm)] = waveform.to_float32(pcm)
    return padded
  best, loudest = None, -1.0
  for _ in range(CROPS):
    at = int(rng.integers(len(pcm) - length + 1))
    audio = waveform.to_float32(pcm[at : at + length])
    rms = rms_of(audio)
    if rms > loudest:
      best, loudest = audio, rms
    if rms >= SILENCE_RMS:
      break
  return best


def level(
  heard: np.ndarray,
  voice: np.ndarray,
  gain_db: tuple[float, float],
  rng: np.random.Generator,
) -> np.float32:
  """Draws the gain of an example in dB; less where it would clip."""
  gain = np.float32(10 ** (rng.uniform(*gain_db) / 20))
  peak = max(peak_of(heard), 0 if voice is heard else peak_of(voice))
  if float(gain) * peak > 1:
    # One float below 1/peak, so that rounding cannot lead beyond 1 again.
    gain = np.nextafter(np.float32(1 / peak), np.float32(0))
  return gain


def normalise_peak(audio: np.ndarray, *, peak: float = 1.0) -> np.ndarray:
  """Scales [T] in place, and returns it."""
  audio *= np.float32(peak / max(peak_of(audio), LEAST_PEAK))
  return audio


def reverberate(audio: np.ndarray, room: np.ndarray) -> np.ndarray:
  """Convolves [T] with an impulse response [R]; the first T samples.

  Scaled to the level that the audio had.
  """
  # In segments, by overlap and add: four short transforms at once, one in each
  # lane of the processor's vectors, take half the time of long ones.
  length = -(-len(audio) // (_LANES - 1))
  size = scipy.fft.next_fast_len(length + len(room) - 1, real=True)
  segments = np.zeros((_LANES, size), np.float32)
  segments[0, : len(room)] = room
  starts = range(0, len(audio), length)
  for segment, start in zip(segments[1:], starts, strict=False):
    segment[:length][: len(audio) - start] = audio[start : start + length]
  spectra = scipy.fft.rfft(segments)
  spectra[1:] *= spectra[0]
  wet = np.zeros(len(audio) + size, np.float32)
  waves = scipy.fft.irfft(spectra, size)
  for wave, start in zip(waves[1:], starts, strict=False):
    wet[start : start + size] += wave
  wet = wet[: len(audio)]
  return wet * np.float32(rms_of(audio) / max(rms_of(wet), 1e-9))


def direct_sound_first(room: np.ndarray) -> np.ndarray:
  """Cuts what an impulse response has before its largest peak.

  So reverberant speech is not later than what it is made of.
  """
  return room[int(np.argmax(np.abs(room))) :]


def random_filter(audio: np.ndarray, rng: np.random.Generator) -> np.ndarray:
  """Colours [T] by a second-order filter with random coefficients."""
  b1, b2, a1, a2 = rng.uniform(-FILTER_BOUND, FILTER_BOUND, 4).astype(
    np.float32
  )
  numerator = np.array([1, b1, b2], np.float32)
  denominator = np.array([1, a1, a2], np.float32)
  return scipy.signal.lfilter(numerator, denominator, audio)


def low_pass(audio: np.ndarray, edge: float) -> np.ndarray:
  """Takes away what lies above `edge`, a share of the band; [T] to [T].

  Half a cosine leads from 1 at 0.95 of the edge to 0 at the edge.
  """
  size = scipy.fft.next_fast_len(len(audio), real=True)
  spectrum = scipy.fft.rfft(audio, size)
  place = np.linspace(0, 1, len(spectrum), dtype=np.float32)
  slope = np.clip((edge - place) / (0.05 * edge), 0, 1)
  spectrum *= np.float32(0.5) - np.float32(0.5) * np.cos(np.pi * slope)
  return scipy.fft.irfft(spectrum, size)[: len(audio)]


def peak_of(audio: np.ndarray) -> float:
  return float(max(audio.max(), -audio.min()))


def rms_of(audio: np.ndarray) -> float:
  return float(np.sqrt(np.dot(audio, audio) / len(audio)))
