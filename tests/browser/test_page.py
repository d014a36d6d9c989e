"""Laws of the page that codes in a browser: its codes and sound are Python's."""

import dataclasses
import re

import numpy as np
import pytest

from configs import soundstream_24khz_6kbps
from soundstream_jax import config as config_lib
from soundstream_jax.audio import wav
from soundstream_jax.cli import main as cli
from soundstream_jax.codec.sstr import reader
from soundstream_jax.export import golden
from tests.browser import driving
from tests.codec import random_codec

pytestmark = pytest.mark.browser


def voice(codec, seconds):
  return golden.sound(codec.sample_rate, codec.hop_samples, seconds)


def written(path, audio, rate_hz):
  """Writes 16 bits; returns the path and the samples that were written."""
  wav.write(path, audio, rate_hz)
  return path


def command(*words):
  return cli.main([*map(str, words)])


@pytest.fixture
def original(codec, tmp_path):
  """A wav file whose last frame is not full."""
  audio = voice(codec, 2)[: -codec.hop_samples // 3]
  return written(tmp_path / "voice.wav", audio, codec.sample_rate)


def lost(packets, share):
  """Which packets the page loses: its hash, written down again."""
  mask = 2**32 - 1

  def hashed(index):
    value = (index + 1) * 0x9E3779B1 & mask
    value = (value ^ value >> 16) * 0x85EBCA6B & mask
    value = (value ^ value >> 13) * 0xC2B2AE35 & mask
    return value ^ value >> 16

  return np.array([hashed(i) / 2**32 < share for i in range(packets)])


def test_codes_of_the_microphone_are_pythons(page, codec):
  page.record(3)
  samples, rate_hz = driving.floats(page.save("original"))
  coded = page.save("sstr")
  assert rate_hz == codec.sample_rate and samples.shape[1] == 1
  assert len(samples) > 3 * rate_hz and np.abs(samples).max() > 0.05
  codes = codec.from_bytes(coded)
  np.testing.assert_array_equal(codes, codec.encode(samples[:, 0]))
  # The file says just so many samples.
  assert coded == codec.to_bytes(codes, num_samples=len(samples))
  heard, _ = driving.floats(page.save("coded"))
  expected = codec.decode(codes)[: len(samples)]
  np.testing.assert_allclose(heard[:, 0], expected, rtol=0, atol=1e-4)


def test_blocks_of_every_size_give_the_same_codes(page, codec, original):
  found = []
  for frames in (1, 2, 4, 8):
    page.set("packet", frames)
    page.give(original)
    found.append(page.save("sstr"))
  assert found[0] == found[1] == found[2] == found[3]


@pytest.mark.parametrize("layers", [3, 16])
def test_a_file_of_the_page_is_the_commands(
  layers, page, workdir, codec, original, tmp_path
):
  page.set("layers", layers)
  page.give(original)
  found = tmp_path / "page.sstr"
  found.write_bytes(page.save("sstr"))
  bitrate = codec.bitrates[layers - 1]
  by_command = tmp_path / "command.sstr"
  model = f"--model={workdir}"
  words = original, by_command, model, f"--bitrate={bitrate}"
  assert command("encode", *words) == 0
  assert found.read_bytes() == by_command.read_bytes()
  assert command("decode", found, tmp_path / "page.wav", model) == 0


def test_channels_are_coded_each_by_itself(page, workdir, codec, tmp_path):
  audio = voice(codec, 1)
  both = np.stack([audio, audio[::-1] / 2], axis=1)
  path = written(tmp_path / "two.wav", both, codec.sample_rate)
  page.give(path)
  assert command("encode", path, tmp_path / "a.sstr", f"--model={workdir}") == 0
  coded = page.save("sstr")
  assert coded == (tmp_path / "a.sstr").read_bytes()
  heard, _ = driving.floats(page.save("coded"))
  expected = np.stack(codec.decode(codec.from_bytes(coded)), axis=1)
  np.testing.assert_allclose(heard, expected, rtol=0, atol=1e-4)


def test_more_than_two_channels_are_mixed(page, codec, tmp_path):
  audio = voice(codec, 0.5)
  many = np.stack([audio, -audio, audio / 2], axis=1)
  page.give(written(tmp_path / "three.wav", many, codec.sample_rate))
  header = reader.from_bytes(page.save("sstr")).header
  assert (header.channels, header.source_channels) == (1, 3)


def test_another_rate_is_resampled_and_told(page, workdir, codec, tmp_path):
  rate_hz = 44_100
  audio = golden.sound(rate_hz, 1, 1.0)
  page.give(written(tmp_path / "cd.wav", audio, rate_hz))
  found = tmp_path / "page.sstr"
  found.write_bytes(page.save("sstr"))
  header = reader.read(found).header
  assert header.source_rate_hz == rate_hz
  assert header.source_samples == len(audio)
  heard, found_hz = driving.floats(page.save("original"))
  assert found_hz == codec.sample_rate
  assert len(heard) == header.model_samples_of(len(audio))
  assert (
    command("decode", found, tmp_path / "page.wav", f"--model={workdir}") == 0
  )


@pytest.mark.parametrize("layers", [2, 16])
def test_a_file_of_the_command_is_heard_as_python_decodes_it(
  layers, page, workdir, codec, original, tmp_path
):
  path = tmp_path / "command.sstr"
  bitrate = f"--bitrate={codec.bitrates[layers - 1]}"
  assert command("encode", original, path, f"--model={workdir}", bitrate) == 0
  page.give(path)
  heard, _ = driving.floats(page.save("coded"))
  recording = reader.read(path)
  expected = codec.decode(recording.codes[0])[: recording.model_samples]
  np.testing.assert_allclose(heard[:, 0], expected, rtol=0, atol=1e-4)
  assert page.save("sstr") == path.read_bytes()
  assert not page.at("original").is_displayed()
  # A lower bitrate of it is what transcoding makes.
  page.set("layers", 1)
  lower = tmp_path / "lower.sstr"
  lowest = f"--bitrate={codec.bitrates[0]}"
  assert command("transcode", path, lower, lowest) == 0
  assert page.save("sstr") == lower.read_bytes()


def test_a_stream_of_the_command_opens(page, codec, tmp_path):
  from soundstream_jax.codec import serialization
  from soundstream_jax.codec.sstr import writer

  audio = voice(codec, 1)
  codes = codec.encode(audio)
  header = serialization.header(
    codec.model,
    num_quantizers=codes.shape[1],
    source_samples=None,
    chunk_frames=writer.STREAM_FRAMES,
  )
  path = tmp_path / "stream.sstr"
  path.write_bytes(
    writer.to_bytes(header, codes[None], source_samples=len(audio))
  )
  page.give(path)
  assert page.save("sstr") == codec.to_bytes(codes, num_samples=len(audio))


def test_damage_is_named_and_the_rest_is_heard_as_in_python(
  page, codec, tmp_path
):
  audio = voice(codec, 10)
  data = bytearray(codec.to_bytes(codec.encode(audio)))
  data[len(data) // 2] ^= 1
  data[160] ^= 1  # a plane of the first layer
  path = tmp_path / "damaged.sstr"
  path.write_bytes(data)
  page.give(path)
  expected = reader.from_bytes(bytes(data), strict=False)
  assert len(expected.damages) == 2
  told = page.text("damages").splitlines()
  assert [line.partition(": ")[2] for line in told] == [
    f"{damage.text}." for damage in expected.damages
  ]
  heard, _ = driving.floats(page.save("coded"))
  decoded = codec.decode(expected.codes[0], layers=expected.layers[0])
  np.testing.assert_allclose(heard[:, 0], decoded, rtol=0, atol=1e-4)
  assert not page.at("save-sstr").is_enabled()


@pytest.mark.parametrize("frames", [1, 4])
def test_lost_packets_are_concealed_as_in_python(page, codec, original, frames):
  page.set("packet", frames)
  page.give(original)
  codes = codec.from_bytes(page.save("sstr"))
  page.set("loss", 30)
  page.set("layers", 7)
  page.done()
  heard, _ = driving.floats(page.save("coded"))
  packets = -(-len(codes) // frames)
  gone = lost(packets, 0.3)
  assert 0.15 < gone.mean() < 0.45
  assert f"{gone.sum()} lost" in page.text("packets-said")
  layers = np.where(np.repeat(gone, frames)[: len(codes)], 0, 7)
  expected = codec.decode(codes, layers=layers)[: len(heard)]
  np.testing.assert_allclose(heard[:, 0], expected, rtol=0, atol=1e-4)
  # What is saved has all packets.
  assert codec.from_bytes(page.save("sstr")).shape == (len(codes), 7)


def test_sliders_change_a_recording_while_it_is_made(page, codec):
  page.press("record")
  driving.until(lambda: page.recorded() >= 1)
  page.set("layers", 1)
  driving.until(lambda: page.recorded() >= 2)
  page.press("record")
  page.done()
  heard, _ = driving.floats(page.save("coded"))
  page.set("layers", 16)
  page.done()
  best, _ = driving.floats(page.save("coded"))
  # The first half had all layers, the second did not.
  second = codec.sample_rate // 2
  np.testing.assert_allclose(heard[:second], best[:second], atol=1e-6)
  assert np.abs(heard - best).max() > 1e-3


def test_a_frame_takes_less_than_half_its_time(page_of, tmp_path):
  """With the channels that the page is meant for, in packets of 4 frames."""
  preset = config_lib.from_dict(soundstream_24khz_6kbps.get_config().to_dict())
  model = dataclasses.replace(
    preset.model, encoder_channels=16, decoder_channels=16
  )
  sixteen = random_codec.random_codec(dataclasses.replace(preset, model=model))[
    0
  ]
  page = page_of(sixteen)
  audio = voice(sixteen, 4)
  page.give(written(tmp_path / "voice.wav", audio, sixteen.sample_rate))
  assert page.at("packet").get_attribute("value") == "4"
  told = page.text("speed")
  encode, decode, whole = map(float, re.findall(r"[\d.]+", told))
  assert whole == 13.3 and encode + decode < whole / 2, told
  assert not page.script("return !!document.querySelector('.late')")


def test_what_cannot_be_opened_is_refused_in_one_line(page, codec, tmp_path):
  from soundstream_jax.codec.sstr.entropy import frequencies

  codes = codec.encode(voice(codec, 1))
  whole = codec.to_bytes(codes)
  counts = np.ones((codec.num_quantizers, codec.codebook_size), np.int64)
  tables = frequencies.from_counts(counts, fingerprint=codec.fingerprint)
  other = bytearray(whole)
  other[84] ^= 1
  import google_crc32c

  other[116:120] = google_crc32c.value(bytes(other[:116])).to_bytes(4, "little")
  cases = {
    "coded.sstr": (codec.to_bytes(codes, tables=tables), "entropy coded"),
    "garbage.sstr": (bytes(1000), "not an .sstr file"),
    "garbage.wav": (b"RIFF" + bytes(1000), "neither sound"),
    "empty.wav": (b"", "neither sound"),
    "other.sstr": (bytes(other), "it was made by the model"),
    "cut.sstr": (whole[:130], "too little to be heard"),
  }
  page.give(written(tmp_path / "good.wav", voice(codec, 0.5), 24_000))
  for name, (data, says) in cases.items():
    path = tmp_path / name
    path.write_bytes(data)
    found = page.offer(path)
    assert found.startswith(f"{name}: ") and says in found
    assert "\n" not in found
  # What was there is there.
  assert page.at("save-sstr").is_enabled()
  page.give(tmp_path / "good.wav")
  assert page.text("error") == ""


def test_a_sound_of_no_samples_is_coded(page, codec, tmp_path):
  page.give(written(tmp_path / "none.wav", np.zeros(0), codec.sample_rate))
  assert page.save("sstr") == codec.to_bytes(
    np.zeros((0, codec.num_quantizers), np.int32), num_samples=0
  )
