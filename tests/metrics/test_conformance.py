"""Google's own numbers of ViSQOL, on Google's own recordings.

They are of version 333 (src/include/conformance.h of google/visqol at 38d0b01);
the recordings are its folder testdata, which VISQOL_TESTDATA names.
"""

import os
import pathlib

import pytest

from soundstream_jax.metrics.perceptual import visqol

FOLDER = os.environ.get("VISQOL_TESTDATA", "")
SUBSET = "conformance_testdata_subset"
AUDIO = [
  ("strauss48_stereo", "_lp35", 1.388879),
  ("steely48_stereo", "_lp7", 2.250168),
  ("sopr48_stereo", "_256kbps_aac", 4.682290),
  ("ravel48_stereo", "_128kbps_opus", 4.465142),
  ("moonlight48_stereo", "_128kbps_aac", 4.684293),
  ("harpsichord48_stereo", "_96kbps_mp3", 4.223745),
  ("guitar48_stereo", "_64kbps_aac", 4.349722),
  ("glock48_stereo", "_48kbps_aac", 4.332453),
  ("contrabassoon48_stereo", "_24kbps_aac", 2.346868),
  ("castanets48_stereo", "", 4.732101),
]
SPEECH = [("transcoded_CA01_01", 3.312923), ("CA01_01", 4.505550)]

pytestmark = pytest.mark.skipif(
  not FOLDER, reason="VISQOL_TESTDATA does not name google/visqol's testdata"
)


def score(mode, reference, output):
  files = [str(pathlib.Path(FOLDER) / f) for f in (reference, output)]
  return visqol._api(mode).measure(*files).moslqo


@pytest.mark.parametrize(("name", "coded", "expected"), AUDIO)
def test_audio_mode_gives_googles_numbers(name, coded, expected):
  found = score("audio", f"{SUBSET}/{name}.wav", f"{SUBSET}/{name}{coded}.wav")
  assert found == pytest.approx(expected, abs=0.005)


@pytest.mark.parametrize(("coded", "expected"), SPEECH)
def test_speech_mode_gives_googles_numbers(coded, expected):
  found = score(
    "speech", "clean_speech/CA01_01.wav", f"clean_speech/{coded}.wav"
  )
  assert found == pytest.approx(expected, abs=0.005)
