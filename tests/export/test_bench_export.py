"""Laws of benchmarks.export: it runs whole, goes on, and says what it lacks."""

import json
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest
import soundfile

from soundstream_jax.audio.synthetic import voices

ROOT = pathlib.Path(__file__).parents[2]
RATE_HZ = 24_000


@pytest.fixture(scope="module")
def sounds(tmp_path_factory):
  folder = tmp_path_factory.mktemp("sounds")
  for index in range(4):
    rng = np.random.default_rng(index)
    voice = voices.synthesize(rng, 8 * RATE_HZ, RATE_HZ)
    soundfile.write(folder / f"{index}.wav", voice, RATE_HZ)
  return folder


def run(folder, *arguments):
  """Runs the command on `tiny` and our own runtime; its files go to a folder."""
  return subprocess.run(
    [
      *(sys.executable, "-m", "benchmarks.export", "--preset=tiny"),
      *(
        "--channels=",
        "--formats=",
        "--seconds=1",
        "--fit_seconds=20",
        "--turns=1",
      ),
      *(f"--out={folder}/out", f"--json={folder}/found.json", *arguments),
    ],
    cwd=ROOT,
    env=os.environ | {"JAX_PLATFORMS": "cpu"},
    capture_output=True,
    text=True,
  )


@pytest.mark.slow
def test_it_measures_all_of_a_runtime_and_then_only_what_is_missing(
  sounds, tmp_path
):
  done = run(tmp_path, f"--audio={sounds}")
  assert (done.returncode, done.stderr) == (0, "")
  assert "1,200 codes of 1 s" in done.stdout
  for line in ("| C=8 | jax ", "Lyra V2 publishes 0.57 ms", "one thread; load"):
    assert line in done.stdout
  first = json.loads((tmp_path / "found.json").read_text())["entries"]
  (entry,) = first.values()
  # 75 frames whole, streamed and of half of the layers; 37 in a batch.
  codes = 16 * (75 + 75 + 37) + 8 * 75
  assert entry["parity"]["passes"] and entry["parity"]["codes"] == codes
  assert {"encode", "first layers", "decode", "stream", "lost frames"} <= set(
    entry["parity"]["ways"]
  )
  assert {"encode", "decode", "encode 1", "decode 1", "encode 8"} <= set(
    entry["speed"]
  )
  assert entry["speed"]["encode"] > 0

  # An entry without its times, as a kill leaves it, gets them and no more.
  kept = entry | {"parity": entry["parity"] | {"codes": 7}}
  del kept["speed"]
  text = json.dumps({"entries": {"C=8/jax": kept}})
  (tmp_path / "found.json").write_text(text)
  done = run(tmp_path, f"--audio={sounds}")
  assert (done.returncode, done.stderr) == (0, "")
  second = json.loads((tmp_path / "found.json").read_text())["entries"]
  assert second["C=8/jax"]["parity"]["codes"] == 7
  assert second["C=8/jax"]["speed"]["encode"] != entry["speed"]["encode"]

  # Of another sound nothing is kept.
  done = run(tmp_path, f"--audio={sounds}", "--seconds=0.5")
  assert (done.returncode, done.stderr) == (0, "")
  third = json.loads((tmp_path / "found.json").read_text())["entries"]
  assert third["C=8/jax"]["parity"]["codes"] not in (7, codes)


@pytest.mark.slow
def test_without_sound_it_says_in_one_line_how_to_get_some(tmp_path):
  done = run(tmp_path)
  assert done.returncode == 2 and done.stderr.count("\n") == 1
  assert "--dataset=debian_audio" in done.stderr
  assert list(tmp_path.iterdir()) == []
