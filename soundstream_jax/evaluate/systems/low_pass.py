"""Anchors: sound without what is above 3.5 or 7 kHz, as in listening tests.

The filter keeps to ITU-R BS.1534: within 0.1 dB up to the cutoff, and down by
more than 50 dB from 8/7 of it, which are 4 and 8 kHz. Its phase is linear and
its delay is taken out.
"""

import dataclasses
import functools

import numpy as np
import scipy.signal

from soundstream_jax import errors
from soundstream_jax.evaluate.systems import system

CUTOFFS_HZ = (3500, 7000)
STOP = 8 / 7  # of the cutoff, where nothing passes any more

_ATTENUATION_DB = 70.0


@dataclasses.dataclass(frozen=True)
class LowPass(system.System):
  """Keeps what is below `setting`, in Hz."""

  def code(self, audio: np.ndarray, *, sample_rate_hz: int) -> system.Coded:
    cutoff_hz = int(self.setting)
    if 2 * STOP * cutoff_hz > sample_rate_hz:
      raise errors.InputError(
        f"{self.key}: sound of {sample_rate_hz} Hz has nothing to take away "
        f"above {STOP * cutoff_hz:.0f} Hz. Leave this system out."
      )
    taps = _taps(cutoff_hz, sample_rate_hz)
    audio = np.asarray(audio, np.float32)
    if not len(audio):
      return system.Coded(audio)
    # Zeros beyond the ends would be heard as fades.
    padded = np.pad(audio.astype(np.float64), len(taps) // 2, "reflect")
    filtered = scipy.signal.oaconvolve(padded, taps, mode="valid")
    return system.Coded(filtered.astype(np.float32))


def all_settings() -> list[LowPass]:
  """Returns both anchors."""
  return [
    LowPass(
      name="low_pass",
      setting=str(cutoff_hz),
      label=f"low-pass {cutoff_hz / 1000:g} kHz",
      bitrate_bps=None,
      version="1",
    )
    for cutoff_hz in CUTOFFS_HZ
  ]


def missing() -> str:
  """Returns '': it is always there."""
  return ""


@functools.cache
def _taps(cutoff_hz: int, sample_rate_hz: int) -> np.ndarray:
  """Returns an odd number of taps, symmetric, whose sum is 1."""
  stop_hz = STOP * cutoff_hz
  count, beta = scipy.signal.kaiserord(
    _ATTENUATION_DB, (stop_hz - cutoff_hz) / (sample_rate_hz / 2)
  )
  return scipy.signal.firwin(
    count | 1,
    (cutoff_hz + stop_hz) / 2,
    window=("kaiser", beta),
    fs=sample_rate_hz,
  )
