"""Laws of the clock of a run: what counts as waiting for data."""

import time

import pytest

from soundstream_jax import config as config_lib
from soundstream_jax.train.monitoring import clock as clock_lib


class _Array:
  """Stands for a result that the device has, or has not, computed."""

  def __init__(self, ready):
    self.is_ready = lambda: ready


@pytest.mark.parametrize(
  ("computed", "counts"),
  [
    (None, True),
    ({"a": _Array(True), "b": _Array(True)}, True),
    ({"a": _Array(True), "b": _Array(False)}, False),
  ],
)
def test_waiting_counts_where_the_device_has_nothing_to_do(computed, counts):
  clock = clock_lib.Clock(config_lib.Config(), step=0)
  with clock.waiting(computed):
    time.sleep(0.02)
  share = clock.lap(1)["speed/data_wait_share"]
  assert (share > 0.5) if counts else (share == 0)
