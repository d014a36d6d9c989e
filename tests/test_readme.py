"""Every command in the README works as printed; what guides name is there."""

import os
import pathlib
import re
import shlex
import struct
import subprocess
import sys

import numpy as np
import pytest

from benchmarks.faults import background_job
from soundstream_jax.audio import wav, waveform

ROOT = pathlib.Path(__file__).parents[1]
# Run by the slow test of the demo, and by whoever runs this.
ELSEWHERE = {"make demo", "make test"}
# The README's model has to make the README's bitrates.
MODEL = {
  "model.strides": (4, 4, 2, 5),
  "quantizer.codebook_size": 32,
  "quantizer.num_quantizers": 4,
  "evaluation.clip_samples": 24_000,
  "data.crop_samples": 3_200,
  "quantizer.kmeans_batches": 8,
}
# An evaluation that takes seconds.
BRIEFLY = "--clips=2 --metrics=log_mel --workers=1"


def _commands():
  text = (ROOT / "README.md").read_text()
  lines = "\n".join(re.findall(r"```bash\n(.*?)```", text, re.S)).splitlines()
  return [line.split("#")[0].strip() for line in lines if line.strip()]


def _is_piped(words):
  return not {"|", "<", ">"}.isdisjoint(words)


@pytest.mark.slow
def test_every_command_of_the_readme_works_in_order(tmp_path, small_overrides):
  rng = np.random.default_rng(0)
  for speaker in range(12):
    folder = tmp_path / "recordings" / f"speaker{speaker:02d}"
    folder.mkdir(parents=True)
    noise = rng.normal(size=(44_100 * 4, 2)) * 0.1
    wav.write(folder / "a.wav", noise.astype(np.float32), 44_100)
    quiet = tmp_path / "noises" / f"place{speaker:02d}"
    quiet.mkdir(parents=True)
    wav.write(quiet / "a.wav", 0.3 * noise.astype(np.float32), 44_100)
  for name in ("speech", "noisy"):
    wav.write(tmp_path / f"{name}.wav", noise.astype(np.float32), 44_100)
  pcm = waveform.to_int16(noise[:, 0].astype(np.float32)).tobytes()
  # As arecord writes it into a pipe: a header that does not know how much
  # comes, and what comes then comes in its own time.
  endless = struct.pack("<I", 0x80000000 + 36), struct.pack("<I", 0x80000000)
  form = struct.pack("<IHHIIHH", 16, 1, 1, 24_000, 48_000, 2, 16)
  (tmp_path / "sound").write_bytes(
    b"RIFF" + endless[0] + b"WAVEfmt " + form + b"data" + endless[1] + pcm
  )
  recording = "head -c 5 sound; sleep 1; tail -c +6 sound | head -c 9000"
  # Stand for a sound card.
  programs = tmp_path / "bin"
  programs.mkdir()
  for name, does in (
    ("arecord", f"{recording}; sleep 1; tail -c +9006 sound"),
    ("aplay", "cat > heard"),
  ):
    (programs / name).write_text(f"#!/bin/sh\n{does}\n")
    (programs / name).chmod(0o755)
  path = [programs, pathlib.Path(sys.executable).parent, os.environ["PATH"]]
  environment = {
    **os.environ,
    "PATH": ":".join(map(str, path)),
    "XLA_FLAGS": background_job.QUICK_COMPILATION,
  }
  small = {**small_overrides, **MODEL}
  small.pop("compilation_cache")
  ran = 0
  for command in _commands():
    if command in ELSEWHERE:
      continue
    words = shlex.split(command)
    if "soundstream_jax.data_pipelines.prepare" in words:
      words.append("--split=60,20,20")
    trains = {"soundstream_jax.train", "soundstream_jax.launch.sweep"}
    if trains & set(words):
      words += [f"--config.{name}={value}" for name, value in small.items()]
    if "soundstream_jax.launch.sweep" in words:
      words.insert(words.index("--"), f"--evaluate={BRIEFLY}")
      words.append("--config.discriminator.start_step=1000")
    if "soundstream_jax.evaluate" in words and "--snr_db=5" not in words:
      words += BRIEFLY.split()
    result = subprocess.run(
      ["bash", "-o", "pipefail", "-c", command] if _is_piped(words) else words,
      cwd=tmp_path,
      env=environment,
      capture_output=True,
      text=True,
      timeout=600,
      check=False,
    )
    assert result.returncode == 0, f"{command}\n{result.stderr[-3000:]}"
    ran += 1
  assert ran == 20
  assert len(list((tmp_path / "coded").rglob("*.sstr"))) == 12
  assert (tmp_path / "heard").stat().st_size == len(pcm)
  assert (tmp_path / "decoded.wav").exists()
  assert (tmp_path / "tokens" / "meta.json").exists()
  assert (tmp_path / "runs/speech/evaluation/spectrograms.png").exists()
  page = (tmp_path / "report.html").read_text()
  assert all(f"codes{size}" in page for size in (2, 32, 1024))


def test_the_readme_names_only_files_that_exist():
  text = (ROOT / "README.md").read_text()
  for target in re.findall(r"\]\((?!http)([^)]+)\)", text):
    assert (ROOT / target).exists(), target


def test_contributing_names_only_files_that_exist():
  text = (ROOT / "CONTRIBUTING.md").read_text()
  table = text[text.index("## Where things are") : text.index("## Words")]
  rows = [line.split("|")[1:-1] for line in table.splitlines() if "|" in line]
  found = 0
  for answer in (cell for row in rows for cell in row[1:]):
    paths = re.findall(r"`([\w/]+\.(?:py|md))`", answer)
    assert len(paths) <= 2, answer
    for path in paths:
      example = path.replace("NAME/", "tpu/").replace("NAME.py", "__init__.py")
      places = [ROOT / "soundstream_jax" / example, ROOT / example]
      assert any(place.exists() for place in places), path
      found += 1
  assert found > 25
