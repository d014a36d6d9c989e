"""Files of version 0.1.0 open as they did then: tests/frozen/README.md."""

import json
import os
import pathlib
import shutil
import subprocess
import sys
import tarfile

import numpy as np
import pytest
import soundfile

import soundstream_jax
from benchmarks.faults import background_job
from soundstream_jax import config as config_lib
from tests.codec import random_codec

FROZEN = pathlib.Path(__file__).parents[1] / "frozen" / "v0_1"
WAV = FROZEN / "speech.wav"


@pytest.fixture(scope="module")
def run_of_0_1(tmp_path_factory):
  """The workdir of two steps, a copy."""
  folder = tmp_path_factory.mktemp("frozen")
  with tarfile.open(FROZEN / "run.tar.gz") as archive:
    archive.extractall(folder, filter="data")
  return folder / "run"


@pytest.fixture(scope="module")
def expected():
  about = json.loads((FROZEN / "expected.json").read_text())
  with np.load(FROZEN / "expected.npz") as arrays:
    return {**about, **arrays}


@pytest.fixture(scope="module", params=["run", "model"])
def codec(request, run_of_0_1):
  folder = run_of_0_1 if request.param == "run" else FROZEN / "model"
  return soundstream_jax.load(str(folder))


def test_the_fingerprint_is_that_of_then(codec, expected):
  found = codec.fingerprint
  found = found if isinstance(found, str) else found.hex()
  assert found == expected["fingerprint"]


def test_codes_are_those_of_then_but_for_near_ties(codec, expected):
  # To the bit where jaxlib and processor are those of then.
  audio, _ = soundfile.read(WAV, dtype="float32")
  codes = codec.encode(audio)
  assert codes.shape == expected["codes"].shape
  random_codec.differ_at_near_ties_only(
    codes, expected["codes"], expected["latents"], expected["vectors"]
  )


def test_codes_decode_to_the_audio_of_then(codec, expected):
  audio = codec.decode(expected["codes"].astype(np.int32))
  np.testing.assert_allclose(audio, expected["audio"], atol=1e-4)


@pytest.mark.parametrize("name", ["speech.sstr", "entropy.sstr"])
def test_a_file_decodes_to_the_audio_of_then(name, run_of_0_1, run, tmp_path):
  out = tmp_path / "decoded.wav"
  run("decode", FROZEN / name, out, f"--model={run_of_0_1}")
  audio, rate_hz = soundfile.read(out)
  then, then_hz = soundfile.read(FROZEN / "decoded.wav")
  assert rate_hz == then_hz
  np.testing.assert_allclose(audio, then, atol=1e-4)


def test_a_file_holds_the_codes_of_then(expected):
  codec = soundstream_jax.load(str(FROZEN / "model"))
  codes = codec.from_bytes((FROZEN / "speech.sstr").read_bytes())
  np.testing.assert_array_equal(codes, expected["codes"])


def test_codes_are_written_as_the_bytes_of_then(run_of_0_1, run, tmp_path):
  # Of the model that was exported then, and of its run: the two name one model.
  coded, packed = tmp_path / "a.sstr", tmp_path / "b.sstr"
  run("transcode", FROZEN / "speech.sstr", coded, "--bitrate=600")
  run("encode", WAV, packed, f"--model={run_of_0_1}", "--bitrate=600")
  codec = soundstream_jax.load(str(FROZEN / "model"))
  one, other = (codec.from_bytes(f.read_bytes()) for f in (coded, packed))
  print(f"{(one != other).any(axis=1).sum()} of {len(one)} frames differ")
  if np.array_equal(one, other):
    assert coded.read_bytes() == packed.read_bytes()


def test_every_field_of_the_configuration_keeps_its_value(run_of_0_1):
  saved = json.loads((run_of_0_1 / "config.json").read_text())
  found = config_lib.to_dict(config_lib.from_dict(saved))

  def check(old, new, name):
    if isinstance(old, dict):
      for key, value in old.items():
        check(value, new[key], f"{name}.{key}")
    else:
      assert old == new, name

  check(saved, found, "config")


def test_the_run_resumes(run_of_0_1, voices, tmp_path):
  workdir = shutil.copytree(run_of_0_1, tmp_path / "run")
  done = subprocess.run(
    [
      sys.executable,
      "-m",
      "soundstream_jax.train",
      f"--workdir={workdir}",
      f"--config.data.sources={voices}",
      "--config.num_steps=3",
    ],
    env={
      **os.environ,
      "JAX_PLATFORMS": "cpu",
      "XLA_FLAGS": background_job.QUICK_COMPILATION,
    },
    capture_output=True,
    text=True,
    timeout=300,
    check=False,
  )
  assert done.returncode == 0, done.stderr
  assert "at step 2" in done.stderr
  lines = (workdir / "metrics.jsonl").read_text().splitlines()
  steps = [json.loads(line) for line in lines]
  last = [row for row in steps if row["step"] == 3 and "bad/steps" in row]
  assert [row["bad/steps"] for row in last] == [0]
  assert (workdir / "checkpoints" / "3").is_dir()
