"""Devices that jax is told to use and that are not here are one line."""

import os
import pathlib
import subprocess
import sys

import jax
import pytest

from soundstream_jax import errors
from soundstream_jax.devices import backend

FROZEN = pathlib.Path(__file__).parent / "frozen/v0_1"
CODEC = (
  "soundstream_jax.cli",
  "decode",
  FROZEN / "speech.sstr",
  "a.wav",
  f"--model={FROZEN / 'model'}",
)


def test_devices_that_are_here_are_opened():
  backend.check()


@pytest.mark.parametrize(
  ("asked", "said"),
  [
    ("cuda", "GPU needs its driver and pip install 'jax[cuda12]'."),
    ("tpu", "A TPU needs pip install 'soundstream_jax[tpu]'"),
    ("nonsense", "(no such backend). Unset it to take what there is"),
  ],
)
def test_devices_that_are_not_here_are_named_with_the_fix(
  asked, said, monkeypatch
):
  def fail():
    raise RuntimeError("no such backend. (set JAX_PLATFORMS='' to choose)")

  monkeypatch.setattr(jax, "local_devices", fail)
  monkeypatch.setattr(backend, "_asked", lambda: asked)
  with pytest.raises(errors.InputError) as refused:
    backend.check()
  assert str(refused.value).startswith(f"JAX_PLATFORMS={asked} cannot be had")
  assert said in str(refused.value)


def test_where_nothing_was_asked_for_the_error_is_not_the_users(monkeypatch):
  def fail():
    raise RuntimeError("a driver is broken")

  monkeypatch.setattr(jax, "local_devices", fail)
  monkeypatch.setattr(backend, "_asked", lambda: None)
  with pytest.raises(RuntimeError, match="a driver is broken"):
    backend.check()


def test_a_command_without_its_device_is_one_line(tmp_path):
  done = subprocess.run(
    [sys.executable, "-m", *map(str, CODEC)],
    cwd=tmp_path,
    env=os.environ | {"JAX_PLATFORMS": "nonsense"},
    capture_output=True,
    text=True,
    timeout=120,
    check=False,
  )
  assert (done.returncode, done.stdout) == (2, "")
  assert done.stderr.startswith("error: JAX_PLATFORMS=nonsense cannot be had")
  assert done.stderr.count("\n") == 1
  assert list(tmp_path.iterdir()) == []
