"""Packages of metrics in processes without a home, and in threads."""

import json
import os
import shutil
import subprocess
import sys
import threading

import numpy as np
import pytest

from soundstream_jax import metrics

# ViSQOL's are the ones that compile programs and keep them in a folder.
MEASURE = """
import json
import numpy as np
from soundstream_jax import metrics
rng = np.random.default_rng(0)
clip, noise = 0.1 * rng.normal(size=(2, 24_000)).astype(np.float32)
print(json.dumps({
  name: metrics.measure_clip(
    name, clip, clip + 0.2 * noise, sample_rate_hz=24_000
  )
  for name in metrics.METRICS
}))
"""


def as_nobody():
  """Returns words before a command, which take its home and rights away."""
  words = [
    *("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"),
    *("--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"),
  ]
  if os.geteuid() == 0 and shutil.which("setpriv"):
    tried = subprocess.run([*words, "true"], capture_output=True)
    if tried.returncode == 0:
      return words
  return []


def run(words=(), **env):
  """Returns (what it measured, what it said on stderr)."""
  kept = {
    key: value
    for key, value in os.environ.items()
    if key not in ("NUMBA_CACHE_DIR", "XDG_CACHE_HOME", "HOME")
  }
  done = subprocess.run(
    [*words, sys.executable, "-c", MEASURE],
    env=kept | env,
    capture_output=True,
    text=True,
    check=True,
  )
  return json.loads(done.stdout), done.stderr


def here():
  rng = np.random.default_rng(0)
  clip, noise = 0.1 * rng.normal(size=(2, 24_000)).astype(np.float32)
  return {
    name: list(
      metrics.measure_clip(
        name, clip, clip + 0.2 * noise, sample_rate_hz=24_000
      )
    )
    for name in metrics.METRICS
  }


def assert_measured(found):
  """The same but for the last bits: memory elsewhere is summed otherwise."""
  expected = here()
  assert list(found) == list(expected)
  for name, (value, problem) in expected.items():
    assert found[name] == [pytest.approx(value, rel=1e-9), problem], name


@pytest.mark.slow
def test_nobody_with_a_home_that_is_read_only_measures_the_same(tmp_path):
  home, scratch = tmp_path / "home", tmp_path / "scratch"
  home.mkdir()
  scratch.mkdir()
  scratch.chmod(0o777)
  tmp_path.chmod(0o755)
  home.chmod(0o555)
  words = as_nobody()
  where = str(home) if words else "/proc/nonexistent"
  found, said = run(words, HOME=where, TMPDIR=str(scratch))
  assert_measured(found)
  assert "no cache 'numba'" in said
  assert "XNNPACK" not in said
  assert list(home.iterdir()) == list(scratch.iterdir()) == []


@pytest.mark.slow
def test_compiled_programs_are_kept_in_the_users_cache(tmp_path):
  found, said = run(HOME=str(tmp_path))
  assert_measured(found)
  assert said == ""
  kept = list((tmp_path / ".cache/soundstream_jax/numba").rglob("*.nbc"))
  assert len(kept) > 5
  found, said = run(HOME=str(tmp_path))
  assert_measured(found)
  assert said == ""


def test_two_threads_may_measure_at_once():
  """Two that start numba's threads at once would end the process."""
  found = []

  rng = np.random.default_rng(0)
  clip, noise = 0.1 * rng.normal(size=(2, 24_000)).astype(np.float32)

  def measure():
    for _ in range(5):
      value, _ = metrics.measure_clip(
        "visqol_speech", clip, clip + noise, sample_rate_hz=24_000
      )
      found.append(value)

  threads = [threading.Thread(target=measure) for _ in range(4)]
  for thread in threads:
    thread.start()
  for thread in threads:
    thread.join()
  assert len(found) == 20 and len(set(found)) == 1 and found[0] > 0
