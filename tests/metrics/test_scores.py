"""Every metric on sound that is worse and worse: best, order, range, traps."""

import functools
import json
import pathlib

import numpy as np
import pytest

from soundstream_jax import metrics
from soundstream_jax.metrics.perceptual import visqol

RATE_HZ = 24_000
FROZEN = pathlib.Path(__file__).parent / "frozen_scores.json"
PERCEPTUAL = [name for name, m in metrics.METRICS.items() if m.package]


def value(name, reference, output, rate_hz=RATE_HZ):
  found, why = metrics.measure_clip(
    name, reference, output, sample_rate_hz=rate_hz
  )
  assert why == ""
  return found


def low_pass(audio, top_hz):
  """Returns audio [T] at 24 kHz with nothing above a frequency."""
  spectrum = np.fft.rfft(audio)
  spectrum[np.fft.rfftfreq(len(audio), 1 / RATE_HZ) > top_hz] = 0
  return np.fft.irfft(spectrum, len(audio)).astype(np.float32)


@pytest.mark.parametrize(
  ("name", "best", "within"),
  [
    ("log_mel", 0.0, 0.0),
    ("si_sdr_db", 100.0, 0.0),
    ("multi_scale_mel", 0.0, 0.0),
    ("visqol_audio", 4.7321, 0.001),
    # The lattice network has no top: equal speech lies around 4.5.
    ("visqol_speech", 4.5, 0.4),
    ("zimtohrli", 5.0, 0.001),
    ("pesq", 4.6439, 0.0001),
    ("stoi", 1.0, 1e-6),
  ],
)
def test_equal_sounds_get_the_best_value(name, best, within, speakers):
  for clip in speakers:
    assert abs(value(name, clip, clip) - best) <= within


# Equal speech may score less in ViSQOL's speech mode than what is at 40 dB.
SNRS_DB = (30, 15, 5, -5)


@pytest.mark.parametrize("name", metrics.METRICS)
def test_more_noise_is_never_better(name, speakers, with_noise):
  sign = 1 if metrics.METRICS[name].higher_is_better else -1
  for clip in speakers:
    found = [value(name, clip, with_noise(clip, snr)) for snr in SNRS_DB]
    # At 1, where it is noise, ViSQOL's speech mode sees no difference.
    worse = -np.diff(sign * np.array(found))
    floor = sign * metrics.METRICS[name].low
    at_the_floor = sign * np.array(found[1:]) == floor
    assert np.all((worse > 0) | (at_the_floor & (worse == 0))), found


@pytest.mark.parametrize(
  "name", ["log_mel", "multi_scale_mel", "visqol_audio", "visqol_speech"]
)
def test_half_a_second_of_silence_at_each_end_makes_it_look_better(
  name, speakers, with_noise
):
  """Why clips are whole or cut, and never padded."""
  silence = np.zeros(RATE_HZ // 2, np.float32)
  sign = 1 if metrics.METRICS[name].higher_is_better else -1
  gains = []
  for speaker in range(3):
    clip, output = (
      np.concatenate(halves)
      for halves in zip(
        *(
          (speakers[k], with_noise(speakers[k], 9))
          for k in (speaker, (speaker + 1) % 3)
        ),
        strict=True,
      )
    )
    padded = [np.concatenate([silence, x, silence]) for x in (clip, output)]
    gains.append(sign * (value(name, *padded) - value(name, clip, output)))
  assert np.mean(gains) > 0.1, gains
  if name == "visqol_audio":
    assert min(gains) > 0.05 and max(gains) < 0.8, gains


@pytest.mark.parametrize("name", metrics.METRICS)
def test_a_wider_band_is_better(name, speakers):
  """The low-pass anchors of listening tests, 3.5 and 7 kHz."""
  sign = 1 if metrics.METRICS[name].higher_is_better else -1
  narrow, wide = (
    np.mean([value(name, x, low_pass(x, top)) for x in speakers])
    for top in (3_500, 7_000)
  )
  if name == "stoi":  # it hears up to 4.3 kHz
    assert 0.97 < narrow < wide
  else:
    assert sign * wide > sign * narrow


def test_audio_mode_is_led_by_bandwidth(speakers):
  """A low-pass that nobody minds in speech mode costs two points in it."""
  narrow = [low_pass(clip, 7_000) for clip in speakers]

  def mean(name):
    pairs = zip(speakers, narrow, strict=True)
    return np.mean([value(name, *pair) for pair in pairs])

  assert mean("visqol_audio") < 3.6
  assert mean("visqol_speech") > 4.2


def test_visqol_scores_anything_best_against_silence(speakers):
  """Why a silent reference has no value."""
  silence = np.zeros(2 * visqol.AUDIO_RATE_HZ)
  other = np.resize(speakers[0], silence.shape).astype(np.float64)
  raw = visqol._api("audio").measure_from_arrays(
    silence, other, visqol.AUDIO_RATE_HZ
  )
  assert abs(raw.moslqo - 4.7321) < 0.001


@pytest.mark.parametrize("name", ["visqol_audio", "visqol_speech"])
def test_visqol_refuses_a_reference_so_quiet_that_noise_scores_well(
  name, speakers, hiss
):
  voice = speakers[0] / np.std(speakers[0])
  # Audio mode forgives more and more; so does speech mode, later.
  noise = value("visqol_audio", 10 ** (-45 / 20) * voice, 0.05 * hiss)
  assert noise > value("visqol_audio", 0.1 * voice, 0.05 * hiss) + 1
  found, why = metrics.measure_clip(
    name, 10 ** (-52 / 20) * voice, 0.05 * hiss, sample_rate_hz=RATE_HZ
  )
  assert found is None
  assert "the reference has -52 dBFS" in why


def pairs():
  """Pairs that are no speech, or are nothing alike, or are too loud."""
  rng = np.random.default_rng(3)
  time = np.arange(RATE_HZ * 5 // 4) / RATE_HZ
  noise = rng.normal(size=(2, len(time)))
  sine = np.sin(2 * np.pi * 440 * time)
  return {
    "noise, noise": noise * 0.1,
    "sine, noise": (sine, noise[0]),
    "noise, sine": (noise[0], sine),
    "noise, offset": (0.1 * noise[0], np.full(len(time), 0.5)),
    "clipped, whisper": (np.sign(sine), 1e-6 * noise[1]),
    "sine, its negative": (sine, -sine),
    "clicks, noise": ((time % 0.1 < 1e-4) * 1.0, 1e3 * noise[1]),
  }


@pytest.mark.parametrize("name", metrics.METRICS)
def test_a_value_is_in_range_whatever_is_compared(name):
  metric = metrics.METRICS[name]
  for pair, (reference, output) in pairs().items():
    found, why = metrics.measure_clip(
      name,
      reference.astype(np.float32),
      output.astype(np.float32),
      sample_rate_hz=RATE_HZ,
    )
    if found is None:
      # Said by name; never because the range of the table is wrong.
      assert why and "outside" not in why, pair
    else:
      assert metric.low <= found <= metric.high, pair


@pytest.mark.parametrize("rate_hz", [16_000, 48_000])
def test_clips_of_any_rate_are_brought_to_the_metrics_own(rate_hz, speakers):
  import soxr

  clip = low_pass(speakers[0], 7_000)
  noisy = low_pass(clip + 0.1 * np.roll(clip, 100), 7_000)
  other = [soxr.resample(x, RATE_HZ, rate_hz) for x in (clip, noisy)]
  for name, within in (("stoi", 0.01), ("pesq", 0.05), ("zimtohrli", 0.05)):
    there, here = value(name, *other, rate_hz), value(name, clip, noisy)
    assert abs(there - here) < within, name


def test_nothing_is_padded_when_rates_do_not_divide(monkeypatch):
  lengths = []

  def score(reference, output):
    lengths.append((len(reference), len(output)))
    return 0.0

  clips = np.ones((1, 44_101, 1), np.float32)
  metrics.clips.each(score, clips, clips, rate_hz=16_000, sample_rate_hz=44_100)
  # 16000.36 samples: the last would reach beyond the clip.
  assert lengths == [(16_000, 16_000)]


@pytest.fixture(scope="module")
def scores(speakers, with_noise):
  """Returns a function of a metric -> its values that are frozen."""

  @functools.cache
  def of(name):
    return [
      value(name, clip, output)
      for clip, snr_db in zip(speakers, (25, 10, 0), strict=True)
      for output in (low_pass(clip, 3_500), with_noise(clip, snr_db))
    ]

  return of


@pytest.mark.parametrize("name", metrics.METRICS)
def test_values_are_those_of_the_versions_that_they_were_frozen_with(
  name, scores
):
  frozen = json.loads(FROZEN.read_text())[name]
  assert metrics.METRICS[name].version() == frozen["version"]
  np.testing.assert_allclose(scores(name), frozen["values"], atol=1e-3)
