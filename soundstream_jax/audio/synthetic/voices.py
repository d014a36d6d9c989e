"""Synthetic speakers: a glottal source through moving formants.

Pulses with pitch contours, jitter and vibrato; vowels that glide into each
other; fricatives, plosives and nasals; syllables, phrases and pauses.
"""

import numpy as np

from soundstream_jax.audio.synthetic import contours

# First three formants in Hz of an average adult: i e a o u and a central one.
_VOWELS_HZ = np.array(
  [
    [280, 2250, 2900],
    [400, 2100, 2750],
    [530, 1850, 2500],
    [730, 1250, 2450],
    [570, 850, 2400],
    [310, 870, 2250],
    [500, 1500, 2500],
    [440, 1050, 2250],
  ]
)
_UPPER_FORMANTS_HZ = (3500, 4600, 6000, 7600, 9400)
_FORMANT_LEVELS = (1.0, 0.6, 0.35, 0.22, 0.14, 0.09, 0.06, 0.04)


def synthesize(
  rng: np.random.Generator, num_samples: int, rate_hz: int
) -> np.ndarray:
  """One speaker: own pitch, vocal tract length, breath, pace and room."""
  frames = contours.num_frames(num_samples, rate_hz)
  pitch_hz = np.exp(rng.uniform(np.log(85), np.log(260)))
  tract = 0.88 + 0.3 * (pitch_hz - 85) / 175 + rng.normal(0, 0.03)
  breath = rng.uniform(0.01, 0.06)
  pace = rng.uniform(3.5, 6.0)  # syllables per second
  score = _Score(frames)
  at = round(rng.uniform(0, 0.2) / contours.FRAME_SECONDS)
  while at < frames:
    phrase = int(rng.integers(3, 13))
    level = rng.uniform(0.5, 1.0)
    for number in range(phrase):
      at = score.syllable(
        rng, at, pitch_hz, tract, pace, level, number / phrase, breath
      )
    at += round(rng.uniform(0.15, 0.7) / contours.FRAME_SECONDS)

  jitter = contours.slow_noise(rng, frames, 3) * 0.012
  vibrato = rng.uniform(0, 0.015) * np.sin(
    2
    * np.pi
    * rng.uniform(4.5, 6.5)
    * contours.FRAME_SECONDS
    * np.arange(frames)
  )
  pitch = contours.smooth(score.pitch_hz, 4) * (1 + jitter + vibrato)
  buzz = _pulses(contours.to_samples(pitch, num_samples, rate_hz), rate_hz)
  buzz *= contours.to_samples(
    contours.smooth(score.voicing, 3), num_samples, rate_hz
  )
  hiss = rng.standard_normal(num_samples, np.float32)

  centre_hz = contours.smooth(score.formants_hz, 6)
  bandwidth_hz = 45 + 0.035 * centre_hz
  freqs_hz = contours.bins_hz(rate_hz)
  envelope = np.full((frames, len(freqs_hz)), 0.004, np.float32)
  for k, level in enumerate(_FORMANT_LEVELS):
    offset = freqs_hz - centre_hz[:, k, None]
    half = bandwidth_hz[:, k, None] / 2
    envelope += level * half / np.sqrt(half**2 + offset**2)
  octaves = np.log2(np.maximum(freqs_hz, 20) / score.hiss_hz[:, None])
  sibilance = score.hiss[:, None] * np.exp(-((octaves / 0.5) ** 2))
  aspiration = envelope * contours.smooth(score.breath, 3)[:, None]
  voice = contours.shape(buzz, envelope, rate_hz) + contours.shape(
    hiss, 0.35 * sibilance.astype(np.float32) + aspiration, rate_hz
  )
  return contours.room(rng, voice, rate_hz)


class _Score:
  """Frame by frame, what a speaker's larynx and mouth do."""

  def __init__(self, frames: int):
    neutral = np.concatenate([_VOWELS_HZ[6], _UPPER_FORMANTS_HZ])
    self.frames = frames
    self.pitch_hz = np.full(frames, 120.0, np.float32)
    self.voicing = np.zeros(frames, np.float32)
    self.breath = np.full(frames, 0.0005, np.float32)
    self.hiss = np.zeros(frames, np.float32)
    self.hiss_hz = np.full(frames, 5000.0, np.float32)
    self.formants_hz = np.tile(neutral.astype(np.float32), (frames, 1))

  def syllable(
    self, rng, at, pitch_hz, tract, pace, level, place, breath
  ) -> int:
    """Writes a consonant and a vowel at frame `at`; returns the next frame.

    Args:
      place: where in its phrase the syllable is, 0 to 1; pitch falls with it.
    """
    consonant = rng.choice(["fricative", "plosive", "nasal", "none"])
    upper = np.array(_UPPER_FORMANTS_HZ)
    if consonant == "fricative":
      until = at + int(rng.integers(6, 15))
      self.hiss[at:until] = level * rng.uniform(0.2, 0.8)
      self.hiss_hz[at:until] = rng.uniform(2500, 8000)
      if rng.random() < 0.4:  # voiced: z, v
        self.voicing[at:until] = 0.25 * level
      at = until
    elif consonant == "plosive":
      burst = at + int(rng.integers(4, 8))
      self.hiss[burst : burst + 2] = level * rng.uniform(0.4, 1.0)
      self.hiss_hz[burst : burst + 2] = rng.uniform(1200, 5000)
      at = burst + 2
    elif consonant == "nasal":
      until = at + int(rng.integers(5, 10))
      self.voicing[at:until] = 0.3 * level
      self.formants_hz[at:until, :3] = np.array([260, 1100, 2300]) * tract
      at = until
    length = max(
      5, round(rng.gamma(9, 1 / 9) * 0.7 / pace / contours.FRAME_SECONDS)
    )
    until = at + length
    size = max(0, min(until, self.frames) - at)
    arc = np.sin(np.pi * (np.arange(size) + 0.5) / length)
    stress = rng.uniform(0.6, 1.0)
    self.voicing[at:until] = level * stress * arc**0.4
    self.breath[at:until] = breath * level
    fall = 1.15 - 0.35 * place
    accent = 1 + rng.normal(0, 0.1) * arc
    self.pitch_hz[at:until] = pitch_hz * fall * accent
    vowel = _VOWELS_HZ[rng.integers(len(_VOWELS_HZ))] * rng.normal(1, 0.04, 3)
    self.formants_hz[at:until] = np.concatenate([vowel, upper]) * tract
    return until


def _pulses(pitch_hz: np.ndarray, rate_hz: int) -> np.ndarray:
  """Glottal flow derivative [N] that follows a pitch contour, band-limited.

  Every pitch reads the richest of a few tables whose partials all stay below
  the Nyquist rate.
  """
  phase = np.cumsum(pitch_hz, dtype=np.float64) / rate_hz
  size = 2048
  place = ((phase - np.floor(phase)) * size).astype(np.int32) % size
  octave = np.clip(np.ceil(np.log2(pitch_hz / 50) * 2), 0, 8).astype(np.int8)
  turns = np.arange(size) / size
  audio = np.zeros(len(pitch_hz), np.float32)
  for half_octave in np.unique(octave):
    partials = np.arange(
      1, int(0.47 * rate_hz / (50 * 2 ** (half_octave / 2))) + 1
    )
    # Flow falls by 12 dB per octave; lips radiate 6 dB per octave more.
    phases = 2 * np.pi * turns[:, None] * partials - np.pi / 4
    levels = partials / (1 + (partials / 2.0) ** 2)
    table = (np.cos(phases) @ levels).astype(np.float32)
    chosen = octave == half_octave
    audio[chosen] = table[place[chosen]]
  return audio / 4
