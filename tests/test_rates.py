"""Laws of rate arithmetic: exact, invertible, and equal to bits on disk."""

import math
from fractions import Fraction

import hypothesis
import pytest
from hypothesis import strategies as st

from soundstream_jax import errors, rates

PAPER = rates.Rates(
  sample_rate_hz=24_000,
  strides=(2, 4, 5, 8),
  num_quantizers=24,
  codebook_size=1024,
)

some_rates = st.builds(
  rates.Rates,
  sample_rate_hz=st.integers(8_000, 96_000),
  strides=st.lists(st.integers(1, 8), min_size=1, max_size=4).map(tuple),
  num_quantizers=st.integers(1, 32),
  codebook_size=st.integers(1, 12).map(lambda bits: 2**bits),
)


@pytest.mark.parametrize(
  ("quantizers", "bitrate_bps"), [(4, 3_000), (8, 6_000), (24, 18_000)]
)
def test_the_papers_bitrates_follow_from_its_strides(quantizers, bitrate_bps):
  assert PAPER.hop_samples == 320
  assert PAPER.frame_rate_hz == 75
  assert PAPER.bits_per_code == 10
  assert PAPER.bitrate_bps(quantizers) == bitrate_bps
  assert PAPER.quantizers_for(bitrate_bps) == quantizers


@hypothesis.given(some_rates)
@hypothesis.settings(deadline=None)
def test_a_printed_bitrate_gives_back_its_number_of_quantizers(rate):
  for q in range(1, rate.num_quantizers + 1):
    printed = rates.describe_bps(rate.bitrate_bps(q))
    assert rate.quantizers_for(float(printed)) == q
  assert rate.bitrate_bps() == rate.bitrate_bps(rate.num_quantizers)


@hypothesis.given(some_rates)
@hypothesis.settings(deadline=None)
def test_a_second_of_whole_frames_fills_exactly_the_bitrate(rate):
  frames = 8 * rate.frame_rate_hz.numerator
  seconds = Fraction(frames) / rate.frame_rate_hz
  size = rates.payload_bytes(frames, rate.num_quantizers, rate.bits_per_code)
  assert 8 * size == rate.bitrate_bps() * seconds


@hypothesis.given(some_rates, st.integers(0, 10**7))
@hypothesis.settings(deadline=None)
def test_frames_cover_the_samples_and_none_is_spare(rate, samples):
  frames = rate.num_frames(samples)
  assert frames * rate.hop_samples >= samples
  assert (frames - 1) * rate.hop_samples < samples or samples == 0


@hypothesis.given(
  st.integers(0, 10**12), st.integers(1, 768_000), st.integers(1, 768_000)
)
@hypothesis.settings(deadline=None)
def test_resampled_length_is_the_exact_ceiling(samples, before_hz, after_hz):
  exact = Fraction(samples * after_hz, before_hz)
  assert rates.resampled_length(samples, before_hz, after_hz) == math.ceil(
    exact
  )
  assert rates.resampled_length(samples, before_hz, before_hz) == samples


@pytest.mark.parametrize(
  "bitrate_bps", [0, -6_000, 6_100, 18_750, math.nan, math.inf, -math.inf]
)
def test_a_bitrate_the_model_cannot_make_lists_those_it_can(bitrate_bps):
  with pytest.raises(errors.InputError, match="is not a rate") as caught:
    PAPER.quantizers_for(bitrate_bps)
  listed = str(caught.value).split("Use one of: ")[1].rstrip(".").split(", ")
  assert [int(rate) for rate in listed] == [750 * q for q in range(1, 25)]


@pytest.mark.parametrize("size", [-8, 0, 1, 3, 1000, 1025])
def test_a_codebook_size_needs_whole_bits_and_the_fix_is_a_valid_size(size):
  with pytest.raises(errors.InputError, match=f"codebook_size={size} ") as e:
    rates.bits_per_code(size)
  for offered in str(e.value).split("Use ")[1].rstrip(".").split(" or "):
    assert 2 ** rates.bits_per_code(int(offered)) == int(offered)


@pytest.mark.parametrize("strides", [(), (2, 0), (-2,), (2.0, 4), (2.5,)])
def test_strides_are_whole_and_positive(strides):
  with pytest.raises(errors.InputError, match=r"model\.strides="):
    rates.Rates(24_000, strides, 8, 1024)


def test_a_bitrate_that_is_no_whole_number_is_not_printed_as_one():
  assert rates.describe_bps(Fraction(6_000)) == "6000"
  assert rates.describe_bps(Fraction(6_200, 3)) == "2066.67"


@hypothesis.given(some_rates, st.integers(1, 200_000))
def test_the_nearest_number_of_layers_is_the_nearest(rates_, bitrate_bps):
  def distance(layers):
    return abs(rates_.bitrate_bps(layers) - bitrate_bps)

  found = rates_.layers_near(bitrate_bps)
  assert found >= 1
  assert distance(found) <= distance(found + 1)
  assert found == 1 or distance(found) < distance(found - 1)


@hypothesis.given(some_rates, st.integers(1, 200))
def test_a_bitrate_is_checked_exactly_and_the_nearest_named(rates_, layers):
  rates_.check_bitrate(rates_.bitrate_bps())
  wanted = rates_.bitrate_bps(layers)
  assert rates_.layers_near(wanted) == layers
  if layers != rates_.num_quantizers:
    with pytest.raises(
      errors.InputError, match=rf"quantizer\.num_quantizers={layers}\.$"
    ):
      rates_.check_bitrate(wanted)
