"""What a run looks at before its first step."""

import collections
import logging
import shutil

import jax
import pytest

from soundstream_jax.devices import distributed
from soundstream_jax.train import start
from soundstream_jax.train import state as state_lib

Usage = collections.namedtuple("Usage", "total used free")
# Two arrays of 1 MB.
STATE = [jax.ShapeDtypeStruct((250_000,), "float32")] * 2


@pytest.fixture
def free(monkeypatch):
  """Returns a function that makes the disk have so many free megabytes."""

  def make(megabytes):
    usage = Usage(100_000_000, 0, int(megabytes * 1e6))
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)

  return make


@pytest.mark.parametrize(
  ("settings", "present", "needed"),
  [
    ({}, 0, 4),  # three are kept, one is being written
    ({"checkpoint.keep": 1}, 0, 2),
    ({"checkpoint.best_of": "log_mel"}, 0, 5),
    ({}, 3, 1),
    ({}, 9, 1),
  ],
)
def test_a_disk_that_will_not_hold_the_checkpoints_is_named_early(
  settings, present, needed, small_config, free, caplog, tmp_path
):
  for step in range(present):
    (tmp_path / f"checkpoints/{step}/meta").mkdir(parents=True)
  config = small_config(**settings)
  with caplog.at_level(logging.WARNING):
    free(2 * needed)
    start.check_space(config, tmp_path, STATE)
    assert caplog.records == []
    free(2 * needed - 0.1)
    start.check_space(config, tmp_path, STATE)
  (record,) = caplog.records
  line = record.getMessage()
  assert f"{needed} more checkpoints of 2 MB each" in line
  assert "MB free" in line


@pytest.mark.parametrize(("bins", "warned"), [(33, []), (34, [64])])
def test_a_window_with_fewer_frequencies_than_mel_bins_is_named(
  bins, warned, small_config, caplog
):
  config = small_config(
    **{"loss.mel_bins": bins, "loss.spectral_windows": (64, 128)}
  )
  mesh = distributed.make_mesh(config.mesh, jax.devices()[:1])
  with caplog.at_level(logging.WARNING):
    start.describe(config, mesh, state_lib.abstract(config))
  lines = [record.getMessage() for record in caplog.records]
  assert len(lines) == len(warned)
  for line, window in zip(lines, warned, strict=True):
    assert f"window of {window} samples" in line


def test_the_log_says_in_what_convolutions_are_computed(small_config, caplog):
  config = small_config(form="plain", train_dtype="bfloat16")
  mesh = distributed.make_mesh(config.mesh, jax.devices()[:1])
  with caplog.at_level(logging.INFO, logger="absl"):
    start.describe(config, mesh, state_lib.abstract(config))
  lines = [record.getMessage() for record in caplog.records]
  assert (
    "convolutions: form plain, bfloat16 in training, float32 in validation"
    in lines
  )
