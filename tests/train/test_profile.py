"""Training writes a trace of the steps that it is asked for."""

import pytest

from soundstream_jax.train import loop


def test_profile_steps_leave_a_trace(small_config, voices, tmp_path):
  config = small_config(
    **{
      "data.sources": voices,
      "num_steps": 3,
      "profile_steps": "2:9",
      "discriminator.start_step": 100,
    }
  )
  assert loop.train(config, tmp_path / "run") == 0
  folder = tmp_path / "run" / "profile" / "process_0"
  assert list(folder.rglob("*.xplane.pb"))


@pytest.mark.parametrize("text", ["3", "0:2", "5:4", "a:b", "1:", "-1:2"])
def test_steps_that_are_no_range_are_refused(small_config, text):
  with pytest.raises(ValueError, match=r"profile_steps=.*must be FIRST:LAST"):
    small_config(profile_steps=text)
