"""Laws of numbers as people type them: what is exact is taken, no more."""

import pytest
from absl import flags

from soundstream_jax import config, errors
from soundstream_jax.settings import numbers, presets

EXACT = {
  "7": 7,
  "007": 7,
  "-3": -3,
  "+4": 4,
  " 5 ": 5,
  "1_000_000": 1_000_000,
  "1e6": 1_000_000,
  "1E6": 1_000_000,
  "1.5e3": 1_500,
  "1.0": 1,
  "0x10": 16,
  "0b11": 3,
  "1e18": 10**18,
}
NOT_EXACT = [
  "1.5",
  "1e-3",
  "10k",
  "nan",
  "inf",
  "1/2",
  "4/2",
  "1e400",
  "1e999999999",
  "0x",
  "many",
]


@pytest.mark.parametrize("text", EXACT)
def test_a_whole_number_in_any_notation_is_taken(text):
  assert numbers.whole(text) == EXACT[text]
  chosen = config.default()
  presets.override(chosen, "num_steps", text)
  assert chosen.num_steps == EXACT[text]
  assert type(chosen.num_steps) is int


@pytest.mark.parametrize("text", [*NOT_EXACT, "", " ", "1,5", "50%"])
def test_what_is_no_whole_number_is_refused_with_an_example(text):
  with pytest.raises(errors.InputError, match="a whole number, as in 1000000"):
    presets.override(config.default(), "num_steps", text)


@pytest.mark.parametrize(
  ("text", "write"),
  [("10k", "10000"), ("1.5K", "1500"), ("2M", "2000000"), ("24e3", "24000")],
)
def test_what_is_meant_is_shown(text, write):
  assert f"for {text} write {write}" in numbers.example(text, int)


@pytest.mark.parametrize(
  ("text", "value"),
  [
    *(pair for t in ("true", "yes", "on", "1") for pair in [(t, True)]),
    *(pair for t in ("FALSE", "no", "Off", "0") for pair in [(t, False)]),
  ],
)
def test_yes_and_no_are_taken(text, value):
  chosen = config.default()
  presets.override(chosen, "quantizer.dropout", text)
  assert chosen.quantizer.dropout is value


@pytest.mark.parametrize(
  ("flag", "said"),
  [
    (
      "--n=24k",
      "--n=24k is not a whole number, as in 1000000 or 1e6: for 24k ",
    ),
    (
      "--n=2e1",
      "--n=2e1 is not a whole number, as in 1000000 or 1e6: for 2e1 ",
    ),
    ("--n=-1", "flag --n=-1: -1 is not a non-negative integer"),
    ("--x=four", "--x=four is not a number, as in 0.5 or 1e-4."),
    ("--x", "Missing value for flag --x"),
  ],
)
def test_a_flag_that_absl_refuses_says_what_to_type(flag, said):
  values = flags.FlagValues()
  flags.DEFINE_integer("n", 0, "", 0, flag_values=values)
  flags.DEFINE_float("x", 0.0, "", flag_values=values)
  with pytest.raises(flags.Error) as error:
    values(["program", flag])
  assert str(numbers.flag_error(error.value)).startswith(said)


@pytest.mark.parametrize(
  ("share", "text"),
  [
    (1, "100 %"),
    (0, "0 %"),
    (0.5, "50 %"),
    (0.123, "12 %"),
    (0.025, "2.5 %"),
    (0.00123, "0.12 %"),
    (1e-7, "under 0.001 %"),
    (0.9999, "99.9 %"),
  ],
)
def test_a_share_is_written_for_people(share, text):
  assert numbers.percent(share) == text
