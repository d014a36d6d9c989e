"""Laws of docs/export.md: its code is that which other tests run."""

import pathlib
import re

import pytest

from soundstream_jax.export import formats

TEXT = (pathlib.Path(__file__).parents[2] / "docs/export.md").read_text()
SECTIONS = {
  re.match(r"[\w-]+", section)[0]: section
  for section in re.split(r"(?m)^## ", TEXT)[1:]
}


@pytest.mark.parametrize("name", list(formats.FORMATS))
def test_the_section_of_a_format_prints_the_consumer_that_is_tested(name):
  code = re.findall(r"```python\n(.*?)```", SECTIONS[name], re.S)
  assert code == [formats.FORMATS[name].consumer]


def test_every_format_and_extra_is_in_the_table():
  table = TEXT[: TEXT.index("## What every folder holds")]
  for name, written in formats.FORMATS.items():
    (row,) = re.findall(rf"^\| `{name}` .*$", table, re.M)
    assert (f"`{written.extra}`" in row) == bool(written.packages)
