"""The demo works as the README promises."""

import json
import os
import shutil
import subprocess
import sys

import pytest

from soundstream_jax import folder_lock
from soundstream_jax.codec.sstr import reader


def _demo(out, *more):
  environment = {**os.environ}
  environment.pop("XLA_FLAGS", None)
  return subprocess.run(
    [
      sys.executable,
      "-m",
      "soundstream_jax.launch.demo",
      f"--out={out}",
      *more,
    ],
    env=environment,
    capture_output=True,
    text=True,
    timeout=1500,
    check=False,
  )


@pytest.mark.slow
@pytest.mark.timeout(1600)
def test_the_demo_trains_resumes_and_leaves_sound_pictures_and_a_text(
  tmp_path,
):
  out = tmp_path / "demo"
  result = _demo(out)
  assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-3000:]
  values = json.loads((out / "results/evaluation.json").read_text())
  assert all(values["criteria"].values())
  assert "resuming" in result.stderr
  for name in (
    "README.txt",
    "report.html",
    "results/curves.png",
    "results/spectrograms.png",
    "results/6000.wav",
    "results/375.wav",
  ):
    assert (out / name).stat().st_size > 0, name
  page = (out / "report.html").read_text()
  bar = "Opus 6 kbit/s" if shutil.which("opusenc") else "<b>opus</b>: "
  for text in ("6 kbit/s", "workdir", "SI-SDR", "<audio", bar):
    assert text in page, text
  # The workdir's training, the results' measurements: nothing is missing.
  assert "is not evaluated" not in page
  high, low = (
    reader.read(out / f"results/{bitrate}.sstr") for bitrate in (6000, 375)
  )
  assert high.codes.shape[1] == low.codes.shape[1] > 0
  assert high.header.num_quantizers == 16 * low.header.num_quantizers


def test_the_demo_replaces_no_files_that_it_did_not_make(tmp_path):
  (tmp_path / "mine.txt").write_text("keep")
  result = _demo(tmp_path)
  assert result.returncode == 2
  assert result.stderr.startswith("error: --out=")
  assert result.stderr.count("\n") == 1
  assert (tmp_path / "mine.txt").read_text() == "keep"


def test_a_second_demo_in_a_folder_is_refused_by_the_name_of_the_first(
  tmp_path,
):
  out = tmp_path / "demo"
  with folder_lock.held(out / ".demo", what=""):
    (out / "workdir").mkdir()
    result = _demo(out)
    assert (out / "workdir").is_dir()
  assert result.returncode == 2
  assert f"at work there (process {os.getpid()} on " in result.stderr
  assert result.stderr.count("\n") == 1
