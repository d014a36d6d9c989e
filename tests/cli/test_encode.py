"""Laws of `soundstream encode`: sizes, rates, channels, what is refused."""

import math
import subprocess
import sys

import numpy as np
import pytest
import soundfile

from soundstream_jax import whole_files
from soundstream_jax.codec.sstr import reader
from soundstream_jax.codec.sstr.entropy import frequencies, table_files


@pytest.mark.parametrize("rate_hz", [8_000, 16_000, 22_050, 44_100, 48_000])
def test_every_rate_and_length_decodes_to_exact_sample_counts(
  rate_hz, wav, run, workdir, loaded_once, tmp_path
):
  coded, decoded = tmp_path / "a.sstr", tmp_path / "out.wav"
  for samples in (1, 319, 320, 321, 44_100 * 3 + 7):
    source = wav(samples, rate_hz, channels=2)
    options = (f"--model={workdir}", "--force")
    mono = ("--mono",) if samples % 2 else ()
    channels = 1 if mono else 2
    out = run("encode", source, coded, *options, *mono)
    assert f"{rate_hz} Hz, 2 channels" in out
    assert ("mixed down to 1 channel" in out) == bool(mono)
    assert ("resampled to 16000 Hz" in out) == (rate_hz != 16_000)
    expected = math.ceil(samples * 16_000 / rate_hz)

    run("decode", coded, decoded, *options)
    assert soundfile.info(decoded).frames == expected
    assert soundfile.info(decoded).samplerate == 16_000
    assert soundfile.info(decoded).channels == channels

    run("decode", coded, decoded, "--rate=source", *options)
    assert soundfile.info(decoded).frames == samples
    assert soundfile.info(decoded).samplerate == rate_hz
    assert soundfile.info(decoded).channels == channels


def test_every_bitrate_of_the_model_is_the_bitrate_on_disk(
  wav, run, workdir, loaded_once, tmp_path
):
  coded = tmp_path / "a.sstr"
  model, source = f"--model={workdir}", wav(16_000)
  codes = {}
  for layers, bitrate in ((1, 250), (2, 500), (3, 750)):
    out = run("encode", source, coded, model, f"--bitrate={bitrate}", "--force")
    size = 120 + 20 + layers * (-(-50 * 5 // 8) + 4)
    assert coded.stat().st_size == size
    assert f"{layers} layers, {bitrate} bit/s nominal" in out
    assert f"{8 * size:.1f} bit/s on disk" in out
    codes[layers] = reader.read(coded).codes
  np.testing.assert_array_equal(codes[3][..., :1], codes[1])
  np.testing.assert_array_equal(codes[3][..., :2], codes[2])


def test_channels_are_kept_each_as_if_it_were_alone(
  wav, run, workdir, loaded_once, tmp_path
):
  model, stereo = f"--model={workdir}", wav(4_000, channels=2)
  audio, _ = soundfile.read(stereo)
  run("encode", stereo, tmp_path / "s.sstr", model)
  both = reader.read(tmp_path / "s.sstr").codes
  for channel in range(2):
    alone = tmp_path / "alone.wav"
    soundfile.write(alone, audio[:, channel], 16_000, subtype="PCM_16")
    run("encode", alone, tmp_path / "m.sstr", model, "--force")
    codes = reader.read(tmp_path / "m.sstr").codes
    np.testing.assert_array_equal(codes[0], both[channel])


def test_packets_are_the_codes_and_nothing_else(
  wav, run, refused, workdir, loaded_once, tmp_path
):
  model, source = f"--model={workdir}", wav(4_000, channels=2)
  packets, coded = tmp_path / "a.raw", tmp_path / "a.sstr"
  rate = "--bitrate=500"
  match = "--mono for their mean"
  assert match in refused("encode", source, packets, model, "--raw")
  out = run("encode", source, packets, model, rate, "--raw", "--mono")
  assert "13 packets of 2 bytes, 2 layers" in out
  assert packets.stat().st_size == 13 * 2
  run("encode", source, coded, model, rate, "--mono")
  out = run("decode", packets, tmp_path / "p.wav", model, rate, "--raw")
  assert "4160 samples, 16000 Hz, 1 channel" in out
  run("decode", coded, tmp_path / "f.wav", model)
  of_packets, _ = soundfile.read(tmp_path / "p.wav")
  of_file, _ = soundfile.read(tmp_path / "f.wav")
  np.testing.assert_array_equal(of_packets[:4_000], of_file)
  target = tmp_path / "q.wav"
  for options, match in (
    (("--raw",), "Give the --bitrate"),
    (("--raw", rate, "--rate=source"), "Use --rate=model"),
    (("--raw", "--bitrate=250"), "does not end with 0 bits after 1 codes"),
    ((rate,), "--bitrate is for --raw"),
  ):
    assert match in refused("decode", packets, target, model, *options)


def test_entropy_coding_changes_the_bytes_and_not_the_codes(
  wav, run, refused, encoded, workdir, tmp_path
):
  coded, model = tmp_path / "e.sstr", f"--model={workdir}"
  argv = ("encode", wav(), coded, model, "--entropy")
  assert "Measure them with soundstream tables" in refused(*argv)
  assert "--entropy is not for --raw" in refused(*argv, "--raw")
  header = reader.read(encoded).header
  counts = np.ones((3, 32), np.int64)
  counts[:, 0] = 1_000
  tables = frequencies.from_counts(counts, fingerprint=header.fingerprint)
  table_files.write(workdir, tables)
  run(*argv)
  recording = reader.read(coded, tables=tables)
  np.testing.assert_array_equal(recording.codes, reader.read(encoded).codes)
  for name, source in (("p", encoded), ("e", coded)):
    run("decode", source, tmp_path / f"{name}.wav", model)
  sound = [(tmp_path / f"{name}.wav").read_bytes() for name in ("p", "e")]
  assert sound[0] == sound[1]


def test_an_existing_output_is_kept_unless_forced(
  wav, encoded, run, refused, workdir, loaded_once, tmp_path
):
  model = f"--model={workdir}"
  assert "Use --force" in refused("encode", wav(), encoded, model)
  run("encode", wav(), encoded, model, "--force")
  target = tmp_path / "out.wav"
  target.write_bytes(b"precious")
  assert "Use --force" in refused("decode", encoded, target, model)
  run("decode", encoded, target, model, "--force")


def test_an_output_that_cannot_be_written_leaves_nothing(
  wav, refused, workdir, loaded_once, tmp_path, monkeypatch
):
  def full(*args):
    raise OSError(28, "No space left on device")

  monkeypatch.setattr(whole_files.os, "replace", full)
  target = tmp_path / "a.sstr"
  err = refused("encode", wav(), target, f"--model={workdir}", code=74)
  assert "No space left on device" in err


def test_bad_paths_are_refused_by_name(
  wav, encoded, refused, workdir, loaded_once, tmp_path
):
  model, source = f"--model={workdir}", wav()
  new, wide = tmp_path / "new.sstr", wav(channels=17, name="wide.wav")
  for argv, match in (
    (("encode", tmp_path / "none.wav", new, model), "there is no such file"),
    (("encode", source, tmp_path, model), "this is a folder"),
    (("encode", source, tmp_path / "no/a.sstr", model), "there is no folder"),
    (("encode", source, source, model, "--force"), "are the same file"),
    (("encode", encoded, new, model), "cannot be read as audio"),
    (("encode", source, tmp_path / "a.mp3", model), "Name it a.sstr"),
    (("encode", wide, new, model), "17 channels, and a file keeps 16"),
    (("encode", source, new, "--model=nowhere"), "holds no checkpoint"),
    (("encode", source, new, model, "--step=15"), "Present: 10, 20"),
    (("decode", source, tmp_path / "o.wav", model), "not an .sstr file"),
    (("decode", encoded, tmp_path / "o.mp3", model), "Name it o.wav"),
    (("decode", tmp_path, tmp_path / "o.wav", model), "this is a folder"),
    (
      ("decode", encoded, tmp_path / "o.wav", model, "--raw", "--bitrate=0"),
      "Use one of: 250, 500, 750.",
    ),
    (("info", tmp_path), "Is a directory"),
    (("info", tmp_path / "none.sstr"), "No such file"),
    (("info", source), "not an .sstr file"),
    (("transcode", source, new, "--bitrate=250"), "not an .sstr file"),
    (("transcode", encoded, encoded, "--bitrate=250"), "the same file"),
    (("transcode", encoded, new, "--bitrate=1"), "Use one of: 250, 500, 750."),
  ):
    assert match in refused(*argv), argv


def test_a_bitrate_that_the_model_lacks_lists_those_it_has(
  wav, refused, workdir, loaded_once, tmp_path
):
  argv = ("encode", wav(), tmp_path / "a.sstr", f"--model={workdir}")
  assert "Use one of: 250, 500, 750." in refused(*argv, "--bitrate=6000")


def test_encoding_loads_no_training_and_says_nothing_on_stderr(
  wav, workdir, tmp_path
):
  argv = ["encode", wav(), tmp_path / "a.sstr", f"--model={workdir}"]
  code = (
    "import sys\n"
    "from soundstream_jax.cli import __main__ as command\n"
    f"assert command.main({[str(word) for word in argv]!r}) == 0\n"
    "heavy = {'optax', 'grain', 'tensorflow', 'soundstream_jax.train',\n"
    "         'soundstream_jax.data', 'soundstream_jax.losses'}\n"
    "assert not heavy & set(sys.modules), heavy & set(sys.modules)"
  )
  result = subprocess.run(
    [sys.executable, "-c", code], capture_output=True, text=True
  )
  assert (result.returncode, result.stderr) == (0, "")
  assert reader.read(tmp_path / "a.sstr").header.step == 20
