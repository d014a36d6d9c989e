"""Laws of the presets: each is a short, valid difference from the default."""

import math
import os
import subprocess
import sys

import jax
import pytest

from soundstream_jax import config
from soundstream_jax.train import kmeans_start, state

PRESETS = config.preset_files()

BITRATES = {
  "soundstream_24khz": 18_000,
  "soundstream_24khz_6kbps": 6_000,
}


@pytest.fixture(scope="module")
def built():
  return {name: config.from_dict(config.load(name)) for name in PRESETS}


def test_the_shipped_presets_are_found():
  assert {*BITRATES, "tiny"} <= set(PRESETS)


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_is_a_difference_of_at_most_60_lines(name):
  assert len(PRESETS[name].read_text().splitlines()) <= 60


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_has_frames_enough_for_its_codebooks(built, name):
  kmeans_start.check(built[name])


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_makes_a_state_of_finite_size(built, name):
  shapes = state.abstract(built[name])
  counts = {
    part: sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(tree))
    for part, tree in (
      ("generator", shapes.params),
      ("average", shapes.ema_params),
      ("discriminators", shapes.disc_params),
    )
  }
  assert 0 < counts["generator"] == counts["average"] < 10**8
  assert 0 < counts["discriminators"] < 10**8
  rates = built[name].rates
  assert shapes.codebooks.vectors.shape == (
    rates.num_quantizers,
    2**rates.bits_per_code,
    built[name].model.embedding_dim,
  )


@pytest.mark.parametrize(("name", "bitrate_bps"), BITRATES.items())
def test_the_papers_presets_have_the_papers_bitrates(built, name, bitrate_bps):
  assert built[name].rates.bitrate_bps() == bitrate_bps
  assert built[name].rates.frame_rate_hz == 75


@pytest.mark.parametrize("name", BITRATES)
def test_a_job_of_the_papers_presets_loses_ten_minutes_at_most(built, name):
  assert 0 < built[name].checkpoint.every_seconds <= 600


def test_the_small_preset_lies_between_tiny_and_the_papers(built):
  sizes = [
    sum(leaf.size for leaf in jax.tree.leaves(state.abstract(built[n]).params))
    for n in ("tiny", "small", "soundstream_24khz")
  ]
  assert 3 * sizes[0] < sizes[1] < sizes[2] / 3
  assert built["small"].rates.bitrate_bps() == 12_000
  assert built["small"].quantizer.dropout


def test_the_scalable_preset_drops_quantizers(built):
  assert built["soundstream_24khz"].quantizer.dropout


@pytest.mark.parametrize("command", ["launch.check", "evaluate"])
def test_help_that_a_head_does_not_read_to_its_end_is_no_error(command):
  reader, writer = os.pipe()
  os.close(reader)
  with open(writer, "w") as closed:
    done = subprocess.run(
      [sys.executable, "-m", f"soundstream_jax.{command}", "--help"],
      stdout=closed,
      stderr=subprocess.PIPE,
      text=True,
      timeout=60,
      check=False,
    )
  assert (done.returncode, done.stderr) == (141, "")
