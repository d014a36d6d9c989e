"""Slaney's mel scale: linear below 1 kHz, logarithmic above. In numpy alone."""

import numpy as np

_LINEAR_HZ_PER_MEL = 200.0 / 3.0
_BREAK_HZ = 1000.0
_BREAK_MEL = _BREAK_HZ / _LINEAR_HZ_PER_MEL
_LOG_STEP = np.log(6.4) / 27.0


def edges_hz(top_hz: float, bins: int) -> np.ndarray:
  """Returns bins + 2 frequencies, equally spaced in mel from 0 to top_hz."""
  if top_hz < _BREAK_HZ:
    top_mel = top_hz / _LINEAR_HZ_PER_MEL
  else:
    top_mel = _BREAK_MEL + np.log(top_hz / _BREAK_HZ) / _LOG_STEP
  mels = np.linspace(0.0, top_mel, bins + 2)
  return np.where(
    mels < _BREAK_MEL,
    mels * _LINEAR_HZ_PER_MEL,
    _BREAK_HZ * np.exp(_LOG_STEP * (mels - _BREAK_MEL)),
  )
