"""Laws of the systems that a model is compared with: anchors and Opus."""

import concurrent.futures
import math
import pickle
import re
import struct
import subprocess
import sys

import numpy as np
import pytest

from soundstream_jax import errors
from soundstream_jax.evaluate import systems
from soundstream_jax.evaluate.systems import low_pass, ogg, opus
from tests import test_imports

RATE_HZ = 24_000


def named(key):
  """Returns one system of the table."""
  (found,), missing = systems.baselines([key])
  assert missing == {}
  return found


def late_samples(output, audio):
  """Returns by how many samples an output lags, by cross-correlation."""
  size = 2 * len(audio)
  product = np.fft.rfft(output, size) * np.conj(np.fft.rfft(audio, size))
  late = int(np.argmax(np.fft.irfft(product, size)))
  return late if late < len(audio) else late - size


def test_whoever_measures_loads_no_jax():
  needed = test_imports.closure("soundstream_jax.evaluate.systems")
  outside = test_imports.outside_imports(needed)
  assert outside.isdisjoint({"jax", "flax", "optax", "orbax"})


@pytest.mark.parametrize("rate_hz", [16_000, 24_000, 44_100])
@pytest.mark.parametrize("cutoff_hz", low_pass.CUTOFFS_HZ)
def test_a_low_pass_is_flat_below_and_silent_above(cutoff_hz, rate_hz):
  system = named(f"low_pass@{cutoff_hz}")
  impulse = np.zeros(rate_hz, np.float32)
  impulse[rate_hz // 2] = 1
  answer = system.code(impulse, sample_rate_hz=rate_hz).audio
  gain_db = 20 * np.log10(np.abs(np.fft.rfft(answer)) + 1e-9)  # at 0, 1, ... Hz
  assert np.abs(gain_db[:cutoff_hz]).max() < 0.1
  assert gain_db[math.ceil(low_pass.STOP * cutoff_hz) :].max() < -50
  # Linear phase: as late as it is early.
  np.testing.assert_allclose(answer[1:], answer[1:][::-1], atol=1e-6)


def test_a_low_pass_leaves_no_trace_at_the_ends(syllables):
  system = named("low_pass@3500")
  flat = np.full(5_000, 0.25, np.float32)
  coded = system.code(flat, sample_rate_hz=RATE_HZ)
  np.testing.assert_allclose(coded.audio, flat, atol=1e-6)
  assert coded.payload_bits is None and coded.entropy_bits is None
  # The same backwards: no end is a beginning.
  audio = syllables(0.5, RATE_HZ)
  forward = system.code(audio, sample_rate_hz=RATE_HZ).audio
  backward = system.code(audio[::-1], sample_rate_hz=RATE_HZ).audio
  np.testing.assert_allclose(forward, backward[::-1], atol=1e-6)


@pytest.mark.parametrize("samples", [0, 1, 7, 400])
def test_a_low_pass_takes_any_length(samples):
  audio = np.ones(samples, np.float32)
  coded = named("low_pass@7000").code(audio, sample_rate_hz=RATE_HZ)
  assert coded.audio.dtype == np.float32
  np.testing.assert_allclose(coded.audio, audio, atol=1e-6)


def test_a_low_pass_above_all_sound_is_one_line():
  with pytest.raises(errors.InputError, match=r"low_pass@7000: .* Leave this"):
    named("low_pass@7000").code(np.ones(9, np.float32), sample_rate_hz=8_000)


@pytest.mark.parametrize("kind", ["opus", "opus_wideband"])
def test_opus_is_charged_for_its_packets_alone(kind, opus_tools, syllables):
  audio = syllables(2.0, RATE_HZ)
  for system in systems.baselines([kind])[0]:
    file, bits = system.encode(audio, sample_rate_hz=RATE_HZ)
    packets = ogg.opus_packets(file)
    assert bits == 8 * sum(map(len, packets)) < 8 * len(file)
    # Of 20 ms, and what the encoder looks ahead.
    assert 100 <= len(packets) <= 102
    bandwidths = {ogg.bandwidth(packet).split("-")[1] for packet in packets}
    if kind == "opus_wideband":
      assert bandwidths == {"WB"}
    elif system.bitrate_bps <= 9_000:
      assert bandwidths == {"NB"}
    sizes = set(map(len, packets))
    if kind == "opus" or system.bitrate_bps > 6_000:  # hard CBR
      assert sizes == {int(system.bitrate_bps * 0.02 / 8)}
    else:
      assert len(sizes) > 1 and bits < 2.2 * system.bitrate_bps
    coded = system.code(audio, sample_rate_hz=RATE_HZ)
    assert coded.payload_bits == bits and coded.entropy_bits is None


@pytest.mark.parametrize("rate_hz", [16_000, 24_000, 44_100, 48_000])
def test_opus_gives_the_clip_back_at_its_place(rate_hz, opus_tools, syllables):
  audio = syllables(1.0, rate_hz)[:-7]
  keys = ["opus@6000", "opus@12000", "opus@24000", "opus_wideband@9000"]
  for system in systems.baselines(keys)[0]:
    output = system.code(audio, sample_rate_hz=rate_hz).audio
    assert output.dtype == np.float32 and output.shape == audio.shape
    assert late_samples(output, audio) == 0, system.key


def test_more_bits_bring_opus_closer(opus_tools, syllables):
  audio = syllables(1.0, RATE_HZ)
  distances = [
    np.square(s.code(audio, sample_rate_hz=RATE_HZ).audio - audio).sum()
    for s in systems.baselines(["opus_wideband"])[0]
  ]
  assert distances == sorted(distances, reverse=True)


@pytest.mark.parametrize("samples", [0, 1, 100])
def test_opus_takes_any_length(samples, opus_tools):
  audio = np.full(samples, 0.1, np.float32)
  coded = named("opus@12000").code(audio, sample_rate_hz=RATE_HZ)
  assert coded.audio.shape == audio.shape and np.isfinite(coded.audio).all()
  assert (coded.payload_bits == 0) == (samples == 0)


def test_silence_stays_in_its_place(opus_tools):
  silence = np.zeros(4_000, np.float32)
  coded = named("opus@6000").code(silence, sample_rate_hz=RATE_HZ)
  assert np.abs(coded.audio).max() < 1e-3


def test_a_system_is_the_same_in_any_process_and_beside_others(
  opus_tools, syllables
):
  audio = syllables(0.5, RATE_HZ)
  system = named("opus@9000")
  again = pickle.loads(pickle.dumps(system))
  assert again == system and again.key == "opus@9000"
  assert again.label == "Opus 9 kbit/s" and again.bitrate_bps == 9_000
  want = system.code(audio, sample_rate_hz=RATE_HZ)
  with concurrent.futures.ThreadPoolExecutor(4) as pool:
    for coded in pool.map(
      lambda _: again.code(audio, sample_rate_hz=RATE_HZ), range(8)
    ):
      assert coded.payload_bits == want.payload_bits
      np.testing.assert_array_equal(coded.audio, want.audio)


def test_opus_says_which_libopus_it_is(opus_tools):
  said = subprocess.run(["opusenc", "-V"], capture_output=True, text=True)
  library, tools = re.fullmatch(
    r"libopus (\S+), opus-tools (\S+)", named("opus@6000").version
  ).groups()
  assert f"opus-tools {tools} (using libopus {library})" in said.stdout


def test_without_a_program_a_system_is_missing_by_name(tmp_path, monkeypatch):
  monkeypatch.setenv("PATH", str(tmp_path))
  found, missing = systems.baselines()
  assert {system.name for system in found} == {"low_pass"}
  assert set(missing) == {"opus", "opus_wideband", "opus_nolace"}
  assert missing == systems.missing()
  for reason in missing.values():
    assert "opusenc and opusdec are not installed" in reason
    assert "apt-get install opus-tools" in reason and "\n" not in reason
  # Who asked for one hears of that one.
  assert systems.baselines(["opus@6000"]) == ([], {"opus": missing["opus"]})


def test_a_program_that_is_another_is_one_line(tmp_path, monkeypatch):
  for name in ("opusenc", "opusdec"):
    program = tmp_path / name
    program.write_text(f"#!{sys.executable}\nprint('something else')\n")
    program.chmod(0o755)
  monkeypatch.setenv("PATH", str(tmp_path))
  with pytest.raises(errors.InputError, match="says 'something else', not"):
    systems.baselines(["opus"])


@pytest.mark.parametrize("name", ["opsu", "opus@7", "low_pass@3500.0", ""])
def test_a_name_that_is_unknown_is_one_line_with_those_known(name, opus_tools):
  with pytest.raises(
    errors.InputError, match=r"there is no system .*Known are"
  ):
    systems.baselines([name])


def test_a_system_that_is_named_twice_is_there_once(opus_tools):
  found, _ = systems.baselines(["opus@9000", "opus", "opus@9000"])
  keys = [system.key for system in found]
  assert keys[0] == "opus@9000" and len(keys) == len(opus.BITRATES_BPS)


def page(sizes, data):
  head = struct.pack("<4sBBqIIIB", b"OggS", 0, 0, 0, 1, 0, 0, len(sizes))
  return head + bytes(sizes) + data


def test_a_packet_goes_on_as_long_as_its_segments_are_full():
  long = bytes(range(256)) * 2  # 255 + 255 + 2, over two pages
  file = page([3, 255], b"abc" + long[:255]) + page([255, 2, 0], long[255:])
  assert list(ogg.packets(file)) == [b"abc", long, b""]


def test_a_file_that_is_cut_within_a_page_is_refused():
  first, second = page([3], b"abc"), page([2, 4], b"defghi")
  whole = first + second
  for end in range(1, len(whole)):
    if end != len(first):
      with pytest.raises(ValueError, match="cut off"):
        list(ogg.packets(whole[:end]))
  with pytest.raises(ValueError, match="no page begins at byte 31"):
    list(ogg.packets(first + b"x" + second))
  with pytest.raises(ValueError, match="no Ogg Opus file"):
    ogg.opus_packets(whole)
