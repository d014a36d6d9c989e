"""Alarms start after some logged steps in a row, say why, and end."""

import numpy as np
import pytest

from soundstream_jax.train.monitoring import alarms

HEALTHY = {
  "discriminator/accuracy_real": np.float32(0.6),
  "discriminator/accuracy_fake": np.float32(0.7),
  "codebook/perplexity": np.asarray([300.0, 500.0]),
  "codebook/dead": np.asarray([0.0, 0.1]),
}


@pytest.mark.parametrize(
  ("sign", "said"),
  [
    (
      {
        "discriminator/accuracy_real": np.float32(1.0),
        "discriminator/accuracy_fake": np.float32(0.99),
      },
      "99.5% of cases",
    ),
    ({"codebook/perplexity": np.asarray([300.0, 3.0])}, "layer 1 has"),
    ({"codebook/dead": np.asarray([0.8, 0.1])}, "80% of the codes"),
  ],
)
def test_an_alarm_needs_patience_is_said_once_and_ends(sign, said):
  watch = alarms.Alarms(codebook_size=1024)
  bad = HEALTHY | sign
  assert watch.update(HEALTHY) == []
  lines = [watch.update(bad) for _ in range(alarms.PATIENCE + 2)]
  assert lines[: alarms.PATIENCE - 1] == [[]] * (alarms.PATIENCE - 1)
  (line,) = lines[alarms.PATIENCE - 1]
  assert line.startswith("alarm: ")
  assert said in line
  assert lines[alarms.PATIENCE :] == [[], []]
  (over,) = watch.update(HEALTHY)
  assert over.startswith("alarm over: ")


def test_a_short_sign_raises_no_alarm():
  watch = alarms.Alarms(codebook_size=1024)
  bad = HEALTHY | {"codebook/dead": np.asarray([0.9, 0.9])}
  for _ in range(5):
    assert watch.update(bad) == []
    assert watch.update(bad) == []
    assert watch.update(HEALTHY) == []


def test_a_step_without_discriminators_raises_no_alarm():
  watch = alarms.Alarms(codebook_size=1024)
  quiet = HEALTHY | {
    "discriminator/accuracy_real": np.float32(0),
    "discriminator/accuracy_fake": np.float32(0),
  }
  assert [watch.update(quiet) for _ in range(9)] == [[]] * 9


def test_no_field_is_a_remedy_that_a_fixed_codebook_does_not_read():
  watch = alarms.Alarms(codebook_size=1024, learns=False)
  bad = HEALTHY | {
    "codebook/perplexity": np.asarray([1.0, 800.0]),
    "codebook/dead": np.asarray([0.9, 0.0]),
  }
  lines = [line for _ in range(alarms.PATIENCE) for line in watch.update(bad)]
  assert len(lines) == 2
  assert not any("revival" in line or "ema_decay" in line for line in lines)
