"""Synthetic instruments: partials with one envelope each, in melodies."""

import numpy as np

from soundstream_jax.audio.synthetic import contours

_SCALES = ((0, 2, 4, 5, 7, 9, 11), (0, 2, 3, 5, 7, 8, 10), (0, 2, 4, 7, 9))


def synthesize(
  rng: np.random.Generator, num_samples: int, rate_hz: int
) -> np.ndarray:
  """One instrument: own spectrum, envelopes, register, scale and tempo."""
  struck = rng.random() < 0.5
  count = int(rng.integers(6, 25))
  partials = np.arange(1, count + 1)
  levels = partials ** -rng.uniform(0.7, 1.8) * rng.uniform(0.3, 1.0, count)
  if rng.random() < 0.25:
    levels[1::2] *= 0.1  # odd partials, as in a closed pipe
  ratios = partials * np.sqrt(1 + partials**2 * rng.uniform(0, 4e-4) * struck)
  damping = rng.uniform(0.8, 4.0) * (1 + rng.uniform(0.1, 0.5) * (partials - 1))
  damping = damping if struck else damping * 0.05
  attack = rng.uniform(0.002, 0.01) if struck else rng.uniform(0.02, 0.12)
  noise_level = rng.uniform(0.002, 0.02)
  vibrato = 0.0 if struck else rng.uniform(0, 0.006)
  vibrato_hz = rng.uniform(4, 7)
  lowest = rng.integers(36, 64)
  scale = _SCALES[rng.integers(len(_SCALES))]
  beat_seconds = 60 / rng.uniform(70, 150)
  chords = rng.random() < 0.4

  audio = np.zeros(num_samples, np.float32)
  at, degree = 0.0, int(rng.integers(0, 10))
  while at * rate_hz < num_samples:
    beats = rng.choice([0.5, 0.5, 1.0, 1.0, 2.0])
    degree = int(np.clip(degree + rng.integers(-3, 4), 0, 13))
    if rng.random() < 0.9:
      # The pitch of a note, and how long it rings beyond its place.
      intervals = (0, 2, 4) if chords and rng.random() < 0.5 else (0,)
      level = rng.uniform(0.4, 1.0) / len(intervals)
      seconds = beats * beat_seconds * (1.0 if not struck else 1.6)
      for interval in intervals:
        octave, tone = divmod(degree + interval, len(scale))
        pitch_hz = 440 * 2 ** ((lowest + 12 * octave + scale[tone] - 69) / 12)
        note = _note(
          rng,
          pitch_hz=pitch_hz,
          seconds=seconds,
          rate_hz=rate_hz,
          ratios=ratios,
          levels=levels,
          damping=damping,
          attack=attack,
          vibrato=vibrato,
          vibrato_hz=vibrato_hz,
          noise_level=noise_level,
        )
        start = round(at * rate_hz)
        note = note[: num_samples - start]
        audio[start : start + len(note)] += level * note
    at += beats * beat_seconds
  return contours.room(rng, audio, rate_hz)


def _note(
  rng,
  *,
  pitch_hz,
  seconds,
  rate_hz,
  ratios,
  levels,
  damping,
  attack,
  vibrato,
  vibrato_hz,
  noise_level,
) -> np.ndarray:
  """Returns one note [N] with attack, decay per partial, and release."""
  t = np.arange(round(seconds * rate_hz)) / rate_hz
  bend = vibrato / vibrato_hz / 2 / np.pi * np.sin(2 * np.pi * vibrato_hz * t)
  turns = pitch_hz * (t + bend)
  audio = np.zeros(len(t), np.float32)
  short_t = t.astype(np.float32)
  for ratio, level, damp in zip(ratios, levels, damping, strict=True):
    if ratio * pitch_hz > 0.47 * rate_hz:
      break
    phase = ratio * turns + rng.random()
    phase = (phase - np.floor(phase)).astype(np.float32)
    partial = np.sin(np.float32(2 * np.pi) * phase)
    # Higher notes and higher partials die away sooner.
    rate = np.float32(damp * (pitch_hz / 220) ** 0.5)
    audio += np.float32(level) * partial * np.exp(-rate * short_t)
  audio += noise_level * rng.standard_normal(len(t), np.float32)
  release = min(0.06, seconds / 4)
  gate = np.minimum(t / attack, 1) * np.clip((seconds - t) / release, 0, 1)
  return audio * gate.astype(np.float32)
