"""The table of datasets says what their descriptions say."""

import importlib
import pathlib
import re

import pytest

from soundstream_jax import data_pipelines
from soundstream_jax.data_pipelines import corpora

README = pathlib.Path(data_pipelines.__path__[0]) / "README.md"
DATASETS = (
  "demand",
  "fsd50k",
  "librispeech",
  "libritts",
  "magnatagatune",
  "musan",
  "rirs",
  "vctk",
)


def _row(name):
  """The cells of the dataset's row in the first table."""
  text = README.read_text()
  (line,) = re.findall(rf"^\| `{name}` \| .*\|$", text, re.MULTILINE)[:1]
  return [cell.strip() for cell in line.strip("|").split(" | ")]


@pytest.mark.parametrize("name", DATASETS)
def test_a_row_has_the_hours_rate_licence_and_address_of_its_module(name):
  module = importlib.import_module(f"{corpora.__name__}.{name}")
  described = module.CORPUS
  kinds = described if isinstance(described, dict) else {"": described}
  _, _, hours, rate_khz, licence, address = _row(name)
  for one in kinds.values():
    assert not one.hours or f"{one.hours:g}" in re.findall(r"[\d.]+", hours)
    assert float(rate_khz) * 1000 == one.sample_rate_hz
    assert re.split(",|;| or ", licence)[0] in one.licence
    assert one.homepage in address


@pytest.mark.parametrize("name", DATASETS)
def test_a_dataset_has_a_command(name):
  assert f"--dataset={name} " in README.read_text()


def test_mixtures_have_their_heading():
  assert "\n## Mixtures\n" in README.read_text()
