"""A metric of a user's own is one function in a file."""

import numpy as np
import pytest

from soundstream_jax import errors, metrics
from soundstream_jax.metrics import own

SNR = '''
import numpy as np
from math import floor as rounded_down

def _power(x):
  return np.mean(x**2)

def snr_db(reference, output, sample_rate_hz):
  """Signal-to-noise ratio; higher is better.

  Nothing is aligned.
  """
  if sample_rate_hz < 8_000:
    raise ValueError("not at this rate")
  return 10 * np.log10(_power(reference) / _power(reference - output))
'''


@pytest.fixture
def load(tmp_path):
  """Returns a function of a file's text -> its table."""

  def read(text, name="mine.py"):
    file = tmp_path / name
    file.write_text(text)
    return own.load(file)

  return read


@pytest.fixture
def refusal(load):
  """Returns a function of a file's text -> the line that refuses it."""

  def line(text, name="mine.py"):
    with pytest.raises(errors.InputError) as caught:
      load(text, name)
    assert "\n" not in str(caught.value)
    return str(caught.value)

  return line


def clip(rate_hz=24_000):
  noise = np.random.default_rng(0).normal(size=rate_hz)
  return (0.1 * noise).astype(np.float32)


def test_one_function_is_a_metric(load):
  table = load(SNR)
  assert list(table) == ["snr_db"]
  metric = table["snr_db"]
  assert (metric.title, metric.column) == ("Signal-to-noise ratio", "snr_db")
  assert metric.higher_is_better and not metric.while_training
  found, why = metrics.measure_clip(
    "snr_db",
    clip(),
    np.float32(0.9) * clip(),
    sample_rate_hz=24_000,
    table=metrics.METRICS | table,
  )
  assert (found, why) == (pytest.approx(20, abs=1e-4), "")


def test_what_it_raises_is_a_missing_value(load):
  found = metrics.measure_clip(
    "snr_db", clip(), clip() / 2, sample_rate_hz=4_000, table=load(SNR)
  )
  assert found == (None, "ValueError: not at this rate")
  found, why = metrics.measure_clip(
    "snr_db", clip(), clip(), sample_rate_hz=24_000, table=load(SNR)
  )
  assert found is None and why == "Signal-to-noise ratio is inf"


def test_more_is_said_of_it_in_a_dictionary(load):
  fields = {
    "title": "SNR",
    "column": "snr",
    "unit": "dB",
    "decimals": 1,
    "higher_is_better": False,
    "sample_rate_hz": 8_000,
    "classes": ["speech"],
    "low": -30,
    "high": 10.0,
  }
  metric = load(f"{SNR}\nMETRICS = {{'snr_db': {fields}}}")["snr_db"]
  for field, value in fields.items():
    expected = tuple(value) if isinstance(value, list) else value
    assert getattr(metric, field) == expected
  assert metric.text(3.14) == "SNR 3.1 dB"
  found, why = metrics.measure_clip(
    "a", clip(), 0.9 * clip(), sample_rate_hz=24_000, table={"a": metric}
  )
  assert found is None and why == "SNR is 20, which is outside of -30 to 10"


def test_it_is_given_clips_at_the_rate_that_it_asks_for(load):
  table = load("""
def samples(reference, output, *, sample_rate_hz):
  "Lower is better."
  return len(reference) + sample_rate_hz
METRICS = {"samples": {"sample_rate_hz": 8000}}
""")
  assert table["samples"].title == "samples"
  found = metrics.measure_clip(
    "samples", clip(), clip(), sample_rate_hz=24_000, table=table
  )
  assert found == (16_000, "")


def test_its_version_is_its_text(load):
  one, other = (load(text)["snr_db"].version() for text in (SNR, SNR + "\n"))
  assert len(one) == 64 and one != other


TWO = (
  SNR + '\ndef other(reference, output, sample_rate_hz):\n  "Lower is better"\n'
)


def test_the_dictionary_says_which_functions_are_metrics(load):
  assert list(load(TWO)) == ["snr_db", "other"]
  assert list(load(TWO + "\nMETRICS = {'other': {}}")) == ["other"]


@pytest.mark.parametrize(
  ("text", "line"),
  [
    ("", " has no metric. Define a function (reference, output, sample"),
    ("import math\n", " has no metric."),
    ("METRICS = ['snr_db']", " has no metric."),
    ("def f(:\n", ": line 1 is not Python (invalid syntax)."),
    ("1 / 0", " cannot be run (ZeroDivisionError: division by zero)."),
    ("import soundstreem", " cannot be run (ModuleNotFoundError: No module"),
    (
      "def f(x, y):\n  'Lower is better.'\n",
      ": f(x, y) must take (reference, output, sample_rate_hz).",
    ),
    (
      "def f(x, y, sample_rate_hz):\n  'A distance.'\n",
      ": f does not say its direction. Write 'higher is better' or",
    ),
    (
      "def stoi(x, y, sample_rate_hz):\n  'Lower is better.'\n",
      ": stoi is the name of a metric that there is already.",
    ),
    (
      f"{SNR}METRICS = {{'snr': {{}}}}",
      ": snr is no function of the file. Did you mean 'snr_db'?",
    ),
    (
      f"{SNR}METRICS = {{'snr_db': 'dB'}}",
      ": snr_db: 'dB' in METRICS is no dictionary of fields",
    ),
    (
      f"{SNR}METRICS = {{'snr_db': {{'units': 'dB'}}}}",
      ": snr_db: 'units' is no field of a metric. Did you mean 'unit'?",
    ),
    (
      f"{SNR}METRICS = {{'snr_db': {{'low': 'no'}}}}",
      ": snr_db: low='no' is not of type float.",
    ),
  ],
)
def test_a_file_that_is_none_is_refused_in_one_line(
  text, line, refusal, tmp_path
):
  found = refusal(text)
  assert found.startswith(f"--metric_file={tmp_path / 'mine.py'}{line}")


def test_a_path_that_is_no_file_of_python_is_refused(refusal, tmp_path):
  assert refusal(SNR, "mine.txt").endswith("is not a Python file (.py).")
  with pytest.raises(errors.InputError, match="there is no such file"):
    own.load(tmp_path / "none.py")
  (tmp_path / "folder.py").mkdir()
  with pytest.raises(errors.InputError, match="is not a Python file"):
    own.load(tmp_path / "folder.py", flag="--mine")
