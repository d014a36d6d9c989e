"""Programs and sound that tests of systems share."""

import shutil

import numpy as np
import pytest
import scipy.signal

from soundstream_jax import errors
from soundstream_jax.evaluate.systems import node_packages
from tests import outside


@pytest.fixture(scope="session")
def opus_tools():
  """Skips by name where opus-tools is not installed."""
  if not (shutil.which("opusenc") and shutil.which("opusdec")):
    pytest.skip("opus-tools is not installed (apt-get install opus-tools)")


@pytest.fixture(scope="session")
def nolace_cache(tmp_path_factory):
  """A folder of caches with NoLACE's packages, installed by npm.

  Skips by name without node, npm or a registry that answers.
  """
  outside.node()
  outside.npm_registry()
  cache = tmp_path_factory.mktemp("cache")
  with pytest.MonkeyPatch.context() as patch:
    patch.setenv("XDG_CACHE_HOME", str(cache))
    try:
      node_packages.install()
    except errors.InputError as error:
      pytest.fail(f"npm ci of the lock file: {error}")
  return cache


@pytest.fixture(scope="session")
def syllables():
  """Returns a function (seconds, rate in Hz) -> float32 [T] like speech.

  Harmonics of a gliding pitch in three resonances, in bursts.
  """

  def make(seconds, rate_hz):
    time = np.arange(round(seconds * rate_hz)) / rate_hz
    pitch = 130 + 30 * np.sin(2 * np.pi * 0.7 * time)
    source = scipy.signal.sawtooth(2 * np.pi * np.cumsum(pitch) / rate_hz)
    noise = np.random.default_rng(0).standard_normal(len(time))
    sound = np.zeros(len(time))
    for low_hz, high_hz, gain in ((300, 900, 1), (1200, 2200, 0.5)):
      band = scipy.signal.butter(
        2, (low_hz, high_hz), "bandpass", fs=rate_hz, output="sos"
      )
      sound += gain * scipy.signal.sosfilt(band, source)
    high = scipy.signal.butter(2, 3000, "highpass", fs=rate_hz, output="sos")
    sound += 0.05 * scipy.signal.sosfilt(high, noise)
    loud = 0.55 + 0.45 * np.sin(2 * np.pi * 3 * time)
    return (0.3 * sound * loud / np.abs(sound).max()).astype(np.float32)

  return make
