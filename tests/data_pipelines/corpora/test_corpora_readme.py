"""The table of datasets says what their descriptions say."""

import pathlib
import re

import pytest

from soundstream_jax import data_pipelines
from soundstream_jax.data_pipelines import catalog

README = pathlib.Path(data_pipelines.__path__[0]) / "README.md"
# Those that a site ships in archives have hours and a rate of their own.
DATASETS = [
  name
  for name in catalog.names()
  if not catalog.flags_of(name) and catalog.load_all(name, None, {})[0].archives
]


def _row(name):
  """The cells of the dataset's row in the first table."""
  text = README.read_text()
  (line,) = re.findall(rf"^\| `{name}` \| .*\|$", text, re.MULTILINE)[:1]
  return [cell.strip() for cell in line.strip("|").split(" | ")]


@pytest.mark.parametrize("name", DATASETS)
def test_a_row_has_the_hours_rate_licence_and_address_of_its_module(name):
  _, _, hours, rate_khz, licence, address = _row(name)
  for one in catalog.load_all(name, None, {}):
    assert not one.hours or f"{one.hours:g}" in re.findall(r"[\d.]+", hours)
    assert float(rate_khz) * 1000 == one.sample_rate_hz
    assert re.split(",|;| or ", licence)[0] in one.licence
    assert one.homepage in address


@pytest.mark.parametrize("name", catalog.names())
def test_a_dataset_has_a_command(name):
  assert f"--dataset={name} " in README.read_text()


def test_mixtures_have_their_heading():
  assert "\n## Mixtures\n" in README.read_text()
