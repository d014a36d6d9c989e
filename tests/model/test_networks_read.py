"""The networks read like the paper's figures: what is computed, never how."""

import ast
import pathlib
import re

import pytest

from soundstream_jax.model import encoder

MODEL = pathlib.Path(encoder.__file__).parent
NETWORKS = ("encoder", "decoder", "wave_discriminator", "stft_discriminator")
# Of methods of convolving.
FOREIGN = r"\b(forms?|(re|un)?fold\w*|lift\w*|lanes?|rows?|avx\w*)\b"


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_has_no_word_of_how_convolutions_are_computed(name):
  text = (MODEL / f"{name}.py").read_text()
  assert re.findall(FOREIGN, text, re.IGNORECASE) == []


@pytest.mark.parametrize("name", NETWORKS)
def test_a_forward_pass_is_at_most_25_lines(name):
  text = (MODEL / f"{name}.py").read_text()
  calls = [
    node
    for node in ast.walk(ast.parse(text))
    if isinstance(node, ast.FunctionDef) and node.name == "__call__"
  ]
  assert calls
  for call in calls:
    assert call.end_lineno - call.lineno + 1 <= 25


@pytest.mark.parametrize("name", ["encoder", "decoder"])
def test_a_half_of_the_generator_is_at_most_120_lines(name):
  assert len((MODEL / f"{name}.py").read_text().splitlines()) <= 120


def test_the_model_knows_no_method_of_convolving():
  how = ("cpu", "tpu", "stream", "plain", "two_taps", "groups")
  for path in sorted(MODEL.glob("*.py")):
    for node in ast.walk(ast.parse(path.read_text())):
      if isinstance(node, ast.ImportFrom) and "convolution" in node.module:
        names = {*node.module.split("."), *(alias.name for alias in node.names)}
        assert names.isdisjoint(how), path.name
