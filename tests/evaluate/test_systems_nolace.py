"""Laws of Opus with NoLACE: it is installed as locked, and really enhances."""

import dataclasses
import json
import os
import pathlib
import pickle
import select
import signal
import subprocess
import sys

import numpy as np
import pytest

from soundstream_jax import errors
from soundstream_jax.audio import reading
from soundstream_jax.evaluate import systems
from soundstream_jax.evaluate.systems import node_packages, nolace, ogg

RATE_HZ = 24_000
SPEECH = pathlib.Path(__file__).parents[1] / "frozen/v0_1/speech.wav"
FOLDER = pathlib.Path(nolace.__file__).parent


@pytest.fixture
def cache(opus_tools, nolace_cache, monkeypatch):
  monkeypatch.setenv("XDG_CACHE_HOME", str(nolace_cache))
  return nolace_cache


@pytest.fixture
def speech():
  return reading.read_mono(SPEECH, sample_rate_hz=RATE_HZ)


def at(setting):
  (found,), missing = systems.baselines([f"opus_nolace@{setting}"])
  assert missing == {}
  return found


def test_the_lock_pins_every_package_and_names_no_registry():
  wanted = json.loads((FOLDER / "package.json").read_text())["dependencies"]
  text = (FOLDER / "package-lock.json").read_text()
  packages = json.loads(text)["packages"]
  assert packages.pop("")["dependencies"] == wanted
  for name, version in wanted.items():
    assert packages[f"node_modules/{name}"]["version"] == version
  for entry in packages.values():
    assert entry["integrity"].startswith("sha512-")
    assert "resolved" not in entry and "hasInstallScript" not in entry


def test_what_is_not_installed_is_missing_with_the_command(
  tmp_path, monkeypatch
):
  for name in ("opusenc", "opusdec", "node"):
    (tmp_path / name).write_text("")
    (tmp_path / name).chmod(0o755)
  monkeypatch.setenv("PATH", str(tmp_path))
  monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
  assert node_packages.COMMAND in systems.missing()["opus_nolace"]
  (tmp_path / "node").unlink()
  assert "node is not installed" in systems.missing()["opus_nolace"]
  with pytest.raises(
    errors.InputError, match=r"npm is not installed\. .*again"
  ):
    node_packages.install()


def test_an_installation_that_fails_leaves_nothing(tmp_path, monkeypatch):
  npm = tmp_path / "npm"
  npm.write_text("#!/bin/sh\nmkdir node_modules\necho no route >&2\nexit 7\n")
  npm.chmod(0o755)
  monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
  monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
  with pytest.raises(errors.InputError, match="exit code 7: no route"):
    node_packages.install()
  assert node_packages.find() is None
  assert list((tmp_path / "cache/soundstream_jax/nolace").iterdir()) == []


@pytest.mark.slow
def test_the_command_installs_once_and_says_so(cache):
  def command():
    return subprocess.run(
      [sys.executable, "-m", "soundstream_jax.evaluate.systems", "--install"],
      capture_output=True,
      text=True,
      check=True,
    ).stdout

  before = node_packages.find()
  line = next(text for text in command().splitlines() if "opus_nolace" in text)
  assert "missing" not in line and "ogg-opus-decoder 1.7.5" in line
  assert node_packages.install() == node_packages.find() == before
  assert [path.name for path in before.parent.iterdir()] == [before.name]


@pytest.mark.slow
@pytest.mark.parametrize("setting", [6_000, 9_000, 12_000])
def test_speech_is_enhanced_and_stays_at_its_place(setting, cache, speech):
  system = at(setting)
  file, bits = system.encode(speech, sample_rate_hz=RATE_HZ)
  assert "SILK-WB" in set(map(ogg.bandwidth, ogg.opus_packets(file)))
  (plain,), _ = systems.baselines([f"opus_wideband@{setting}"])
  as_opusdec = plain.decode(file)
  without = dataclasses.replace(system, enhancement="none").decode(file)
  enhanced = system.decode(file)
  # Two decoders of one format; what differs is the enhancement.
  assert enhanced.shape == without.shape and len(without) >= len(as_opusdec)
  np.testing.assert_allclose(without[: len(as_opusdec)], as_opusdec, atol=1e-3)
  change = np.square(enhanced - without).sum() / np.square(without).sum()
  assert 0.01 < change < 1, change
  coded = system.code(speech, sample_rate_hz=RATE_HZ)
  assert coded.payload_bits == bits
  assert coded.audio.shape == speech.shape
  output, middle = coded.audio, speech[50:-50]
  products = {
    late: np.dot(output[50 + late :][: len(middle)], middle)
    for late in range(-40, 41)
  }
  assert max(products, key=products.get) == 0


@pytest.mark.slow
def test_one_node_serves_all_clips_and_another_follows_it(cache, speech):
  system = at(9_000)
  nolace._decoder.cache_clear()
  first = system.code(speech, sample_rate_hz=RATE_HZ).audio
  decoder = nolace._decoder(os.getpid(), system.folder, "nolace")
  again = pickle.loads(pickle.dumps(system))
  # No clip hears of the one before.
  system.code(speech[::-1], sample_rate_hz=RATE_HZ)
  same = again.code(speech, sample_rate_hz=RATE_HZ).audio
  np.testing.assert_array_equal(same, first)
  assert not decoder.ended
  # A file that is none is one line, and the node goes on.
  with pytest.raises(errors.InputError, match="opus_nolace@9000: "):
    system.decode(b"no Ogg")
  assert not decoder.ended
  os.kill(decoder._child.pid, signal.SIGKILL)
  decoder._child.wait()
  with pytest.raises(errors.InputError, match="it has ended"):
    system.code(speech, sample_rate_hz=RATE_HZ)
  same = system.code(speech, sample_rate_hz=RATE_HZ).audio
  np.testing.assert_array_equal(same, first)


CODE = """
import os, sys
import numpy as np
from soundstream_jax.evaluate import systems
from soundstream_jax.evaluate.systems import nolace
(system,), _ = systems.baselines(["opus_nolace@9000"])
system.code(np.zeros(2400, np.float32), sample_rate_hz=24000)
print(nolace._decoder(os.getpid(), system.folder, "nolace")._child.pid)
sys.stdout.flush()
if len(sys.argv) > 1:
  sys.stdin.read()
"""


@pytest.mark.slow
@pytest.mark.parametrize("killed", [False, True])
def test_a_node_ends_with_its_process(killed, cache):
  process = subprocess.Popen(
    [sys.executable, "-W", "error", "-c", CODE, *["wait"] * killed],
    stdin=subprocess.PIPE,
    stdout=subprocess.PIPE,
    stderr=subprocess.PIPE,
    text=True,
  )
  with process:
    node = int(process.stdout.readline())
    # It is no child of ours: an end of its own is seen by a file that opens.
    watched = os.pidfd_open(node) if killed else None
    if killed:
      process.kill()
    _, told = process.communicate()
  if killed:
    assert select.select([watched], [], [], 30)[0] == [watched]
    os.close(watched)
  else:
    assert told == ""
    with pytest.raises(ProcessLookupError):
      os.kill(node, 0)
