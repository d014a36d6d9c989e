"""Training writes a trace of the steps that it is asked for."""

import threading

import jax
import pytest

from soundstream_jax.train import loop
from soundstream_jax.train.monitoring import profile as profile_lib


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


def test_a_trace_that_cannot_be_written_is_a_warning(
  small_config, tmp_path, caplog
):
  (tmp_path / "profile").write_text("not a folder")
  profile = profile_lib.Profile(small_config(profile_steps="1:2"), tmp_path)
  profile.before(1)
  profile.after(1, ())
  profile.after(2, ())
  (warning,) = [r for r in caplog.records if r.name == "absl"]
  assert f"could not be written to {tmp_path}/profile" in warning.getMessage()
  assert "MB free" in warning.getMessage()
  profile.before(1)  # as after a rollback
  profile.close()


def test_a_trace_that_a_disk_never_takes_is_waited_for_a_while(
  small_config, tmp_path, caplog, monkeypatch
):
  answers = threading.Event()
  monkeypatch.setattr(jax.profiler, "start_trace", lambda *_, **__: None)
  monkeypatch.setattr(jax.profiler, "stop_trace", lambda: answers.wait(60))
  monkeypatch.setattr(profile_lib, "WRITE_SECONDS", 0.2)
  profile = profile_lib.Profile(small_config(profile_steps="1:1"), tmp_path)
  try:
    profile.before(1)
    profile.after(1, ())
  finally:
    answers.set()
  assert "has not answered for 0.2 s" in caplog.text
