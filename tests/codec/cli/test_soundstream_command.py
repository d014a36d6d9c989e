"""Laws of the command `soundstream`."""

import dataclasses
import math
import struct
import subprocess
import sys
import zlib

import numpy as np
import pytest
import soundfile

import soundstream_jax
from soundstream_jax.checkpoint import manager
from soundstream_jax.codec import __main__ as command
from soundstream_jax.codec import codec as codec_lib
from soundstream_jax.codec import fingerprint
from soundstream_jax.codec.sstr import files, packing, reader, writer
from soundstream_jax.codec.sstr.entropy import frequencies, table_files
from soundstream_jax.codec.stream import concealment


@pytest.fixture
def encoded(wav, run, workdir, loaded_once, tmp_path):
  run("encode", wav(), tmp_path / "a.sstr", f"--model={workdir}")
  return tmp_path / "a.sstr"


@pytest.fixture
def rewritten(encoded):
  """Gives the encoded file's header other fields."""

  def rewrite(**changes):
    recording = reader.read(encoded)
    header = dataclasses.replace(recording.header, **changes)
    writer.write(encoded, header, recording.codes)

  return rewrite


def version_1(header, codes):
  """A file as version 1 was written: codes [F, n_q] of one channel."""
  fields = struct.pack(
    "<4sBBHQQQqIIIIHHB3s32s",
    *(b"SSTR", 1, 0, 104),
    *(header.source_samples, header.model_samples_of(header.source_samples)),
    *(header.frames, header.step, header.source_rate_hz, header.model_rate_hz),
    *(header.hop_samples, header.codebook_size, header.source_channels),
    *(header.num_quantizers, int(header.weights == "ema"), bytes(3)),
    header.fingerprint,
  )
  payload = packing.pack(codes.reshape(1, -1), header.code_bits).tobytes()
  fields += struct.pack("<I", zlib.crc32(payload))
  return fields + struct.pack("<I", zlib.crc32(fields)) + payload


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


def test_transcode_equals_encode_at_that_bitrate_byte_for_byte(
  wav, run, workdir, loaded_once, tmp_path
):
  model, source = f"--model={workdir}", wav(16_000 * 11, channels=2)
  high, low, piped = (tmp_path / f"{name}.sstr" for name in "hlp")
  run("encode", source, high, model)
  run("encode", source, low, model, "--bitrate=500")
  run("decode", low, tmp_path / "low.wav", model)
  out = run("transcode", high, piped, "--bitrate=500")
  assert "2 layers, 500 bit/s nominal a channel" in out
  assert piped.read_bytes() == low.read_bytes()
  argv = ("transcode", "--bitrate=500", "-", "-")
  result = subprocess.run(
    [sys.executable, "-m", "soundstream_jax.codec", *argv],
    input=high.read_bytes(),
    capture_output=True,
    check=True,
  )
  assert result.stdout == low.read_bytes()
  assert result.stderr.decode() == out.replace(str(piped), "-")


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


def test_decode_equals_the_codec_up_to_16_bits(
  encoded, run, workdir, loaded_once, tmp_path
):
  run("decode", encoded, tmp_path / "out.wav", f"--model={workdir}")
  recording = reader.read(encoded)
  codec = codec_lib.Codec.load(str(workdir))
  expected = codec.decode(recording.codes[0])[: recording.model_samples]
  decoded, _ = soundfile.read(tmp_path / "out.wav", dtype="float32")
  np.testing.assert_allclose(
    decoded, np.clip(expected, -1, 1), rtol=0, atol=2**-15
  )


def test_a_file_of_version_1_decodes_as_its_codes_of_version_2(
  encoded, run, workdir, loaded_once, tmp_path
):
  model, recording = f"--model={workdir}", reader.read(encoded)
  old = tmp_path / "old.sstr"
  old.write_bytes(version_1(recording.header, recording.codes[0]))
  run("decode", encoded, tmp_path / "new.wav", model)
  run("decode", old, tmp_path / "old.wav", model)
  assert (tmp_path / "old.wav").read_bytes() == (
    tmp_path / "new.wav"
  ).read_bytes()
  out = run("info", old)
  for text in (
    "version 1",
    "129 bytes = 104 header + 25 payload",
    "16000 Hz, 4000 samples, 1 channel, 0.250 s",
    "13 frames of 3 layers, 32 codes of 5 bits",
    "750 bit/s nominal, 4128.0 bit/s on disk",
    "algorithmic latency: one hop, 320 samples, 20.0 ms",
    "20 (ema)",
  ):
    assert text in out


def test_an_entropy_coded_file_decodes_with_the_tables_of_the_workdir(
  encoded, run, refused, workdir, loaded_once, tmp_path
):
  model, recording = f"--model={workdir}", reader.read(encoded)
  run("decode", encoded, tmp_path / "a.wav", model)
  tables = frequencies.from_counts(
    np.ones((3, 32), np.int64), fingerprint=recording.header.fingerprint
  )
  header = dataclasses.replace(recording.header, tables=tables.identity)
  writer.write(encoded, header, recording.codes, tables=tables)
  err = refused("decode", encoded, tmp_path / "b.wav", model)
  assert tables.identity.hex() in err
  table_files.write(workdir, tables)
  run("decode", encoded, tmp_path / "b.wav", model)
  audio = [(tmp_path / f"{name}.wav").read_bytes() for name in "ab"]
  assert audio[0] == audio[1]
  assert "5 bits, entropy coded" in run("info", encoded)


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


def test_an_exported_model_is_the_checkpoint(
  wav, run, refused, encoded, workdir, loaded_once, tmp_path
):
  folder = tmp_path / "models" / "small"
  out = run("export", folder, f"--model={workdir}")
  assert "step 20 (ema)" in out
  assert {path.name for path in folder.iterdir()} == {
    "model.json",
    "model.safetensors",
  }
  model = f"--model={folder}"
  run("encode", wav(), tmp_path / "b.sstr", model)
  assert (tmp_path / "b.sstr").read_bytes() == encoded.read_bytes()
  new = tmp_path / "c.sstr"
  assert "of step=20, not 10" in refused(
    "encode", wav(), new, model, "--step=10"
  )
  assert "holds an exported model" in refused(
    "export", folder, f"--model={workdir}"
  )


def test_a_header_cannot_ask_for_a_hundred_times_the_models_rate(
  encoded, rewritten, run, refused, workdir, loaded_once, tmp_path
):
  rewritten(source_rate_hz=2**31, source_samples=2**29)
  argv = ("decode", encoded, tmp_path / "out.wav", f"--model={workdir}")
  assert "Use --rate=model" in refused(*argv, "--rate=source")
  run(*argv)


def test_info_prints_every_number_of_the_file(encoded, run):
  out = run("info", encoded)
  header = reader.read(encoded).header
  for text in (
    "version 2",
    "179 bytes = 120 header + 32 chunk headers and checksums + 27 codes",
    "16000 Hz, 4000 samples, 1 channel, 0.250 s",
    "16000 Hz, 4000 samples, 1 channel, hop 320, strides 320",
    "13 frames of 3 layers (of 3), 32 codes of 5 bits, packed",
    "1 of up to 256 frames, 5.120 s",
    "750 bit/s nominal, 5728.0 bit/s on disk",
    "250, 500, 750 bit/s by transcode",
    "algorithmic latency: one hop, 320 samples, 20.0 ms",
    header.fingerprint.hex(),
    "20 (ema)",
  ):
    assert text in out


def test_info_of_a_stream_takes_its_length_from_the_end(encoded, run):
  recording = reader.read(encoded)
  header = dataclasses.replace(
    recording.header, source_samples=None, chunk_frames=8
  )
  data = writer.to_bytes(header, recording.codes, source_samples=4_000)
  encoded.write_bytes(data)
  out = run("info", encoded)
  assert f"{len(data)} bytes = 120 header + 64 chunk headers" in out
  assert " + 32 end" in out
  assert "16000 Hz, 4000 samples, 1 channel, 0.250 s" in out
  assert "2 of up to 8 frames, 0.160 s" in out


def test_damage_is_named_with_its_time_and_the_rest_decodes(
  wav, refused, workdir, loaded_once, tmp_path, capsys
):
  # 12 s: three chunks, the second without its first layer.
  coded, target = tmp_path / "a.sstr", tmp_path / "out.wav"
  model = f"--model={workdir}"
  assert command.main(["encode", str(wav(16_000 * 12)), str(coded), model]) == 0
  whole = coded.read_bytes()
  chunk = 20 + 3 * (256 * 5 // 8 + 4)
  damaged = bytearray(whole)
  damaged[120 + chunk + 20] ^= 1
  coded.write_bytes(damaged)
  capsys.readouterr()
  assert command.main(["decode", str(coded), str(target), model]) == 0
  out, err = capsys.readouterr()
  text = "at 5.120 s: the first layer is damaged: 256 frames lost"
  assert err == f"damaged: {coded}: {text}\n"
  assert "192000 samples" in out
  assert f"{coded}: {text}" in refused("info", coded)
  found, _ = soundfile.read(target, dtype="float32")
  codec = codec_lib.Codec.load(str(workdir))
  expected = codec.decode(reader.from_bytes(whole).codes[0])[: len(found)]
  hop, context = 320, 2_000
  kept = np.r_[: 256 * hop, 512 * hop + context : len(found)]
  np.testing.assert_allclose(
    found[kept], np.clip(expected, -1, 1)[kept], rtol=0, atol=2**-15
  )
  faded = concealment.HOLD_S + concealment.FADE_S
  silent = np.arange(256 * hop + round(faded * 16_000) + hop, 512 * hop)
  assert not found[silent].any()


def test_a_file_of_another_checkpoint_names_the_one_that_matches(
  encoded, rewritten, run, refused, workdir, loaded_once, tmp_path
):
  model, target = f"--model={workdir}", tmp_path / "out.wav"
  for step, weights in ((10, "ema"), (20, "raw"), (10, "raw")):
    restored = manager.restore_params_only(workdir, step=step, weights=weights)
    digest = fingerprint.compute(
      restored.config, restored.params, restored.codebooks.vectors
    )
    rewritten(fingerprint=digest, step=step, weights=weights)
    err = refused("decode", encoded, target, model)
    assert f"made by step {step} ({weights} weights)" in err
    assert f"Use --step={step} --weights={weights}." in err
  run("decode", encoded, target, model, "--step=10", "--weights=raw")


def test_a_wrong_hint_still_finds_the_checkpoint(
  encoded, rewritten, refused, run, workdir, loaded_once, tmp_path
):
  rewritten(step=999, weights="raw")
  run("decode", encoded, tmp_path / "out.wav", f"--model={workdir}")
  (tmp_path / "out.wav").unlink()
  err = refused(
    *("decode", encoded, tmp_path / "out.wav"),
    *(f"--model={workdir}", "--step=10"),
  )
  assert "Use --step=20 --weights=ema." in err


def test_a_file_of_another_model_is_refused(
  encoded, rewritten, refused, workdir, loaded_once, tmp_path
):
  rewritten(fingerprint=bytes(32))
  err = refused("decode", encoded, tmp_path / "o.wav", f"--model={workdir}")
  assert "belongs to another model" in err
  assert "steps 10, 20" in err


def test_a_file_that_contradicts_its_fingerprint_is_refused(
  encoded, rewritten, refused, workdir, loaded_once, tmp_path
):
  argv = ("decode", encoded, tmp_path / "o.wav", f"--model={workdir}")
  rewritten(codebook_size=64)
  assert "codebook_size=64" in refused(*argv)
  rewritten(codebook_size=32, strides=(2, 160))
  assert "strides=(2, 160) contradicts" in refused(*argv)


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


def test_a_file_that_is_cut_short_is_refused_and_the_output_is_kept(
  encoded, refused, workdir, loaded_once, tmp_path
):
  data = encoded.read_bytes()
  target = tmp_path / "out.wav"
  target.write_bytes(b"precious")
  argv = ("decode", encoded, target, f"--model={workdir}", "--force")
  encoded.write_bytes(data[:130])
  assert "0 of 13 frames are there" in refused(*argv)
  encoded.write_bytes(data[:50])
  assert "truncated: expected 120 bytes, found 50" in refused(*argv)
  encoded.write_bytes(data[:-1])
  err = refused("info", encoded)
  assert f"{encoded}: at 0.000 s: layer 3 is damaged" in err


def test_an_output_that_cannot_be_written_leaves_nothing(
  wav, refused, workdir, loaded_once, tmp_path, monkeypatch
):
  def full(*args):
    raise OSError(28, "No space left on device")

  monkeypatch.setattr(files.os, "replace", full)
  err = refused("encode", wav(), tmp_path / "a.sstr", f"--model={workdir}")
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
    (("encode", wide, new, model), "17 channels, and a file keeps 16"),
    (("encode", source, new, "--model=nowhere"), "holds no checkpoint"),
    (("encode", source, new, model, "--step=15"), "Present: 10, 20"),
    (("decode", source, tmp_path / "o.wav", model), "not an .sstr file"),
    (("decode", encoded, tmp_path / "o.mp3", model), "Name it o.wav"),
    (("decode", tmp_path, tmp_path / "o.wav", model), "this is a folder"),
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


def test_mistyped_commands_and_options_name_the_nearest(refused):
  for argv, match in (
    ((), "no command. Use one of: encode, decode, transcode, stream, info,"),
    (("encdoe", "a", "b"), "Did you mean 'encode'?"),
    (("--vresion",), "Did you mean '--version'?"),
    (("encode", "a", "b", "--modle=c"), "Did you mean '--model'?"),
    (("encode", "a", "b"), "--model"),
    (("encode", "a", "b", "--model=c", "--bitrat=5"), "'--bitrate'?"),
    (("encode", "a", "--model=c"), "OUTPUT"),
    (("encode", "a", "b", "c", "--model=d"), "unexpected argument 'c'"),
    (("encode", "a", "b", "--model=c", "--bitrate=fast"), "number of bits/s"),
    (("encode", "a", "b", "--model=c", "--bitrate=nan"), "number of bits/s"),
    (("encode", "a", "b", "--model=c", "--step=-1"), "whole number"),
    (("encode", "a", "b", "--model=c", "--weights=best"), "'ema', 'raw'"),
    (("decode", "a", "b", "--model=c", "--rate=fast"), "'model', 'source'"),
    (("info",), "FILE"),
    (("transcode", "a", "b"), "--bitrate"),
    (("pin", "--model=c"), "--step"),
  ):
    assert match in refused(*argv), argv


@pytest.mark.parametrize(
  "argv", [["--help"], ["--version"], ["encode", "--help"], ["info", "-h"]]
)
def test_help_and_version_print_and_succeed(argv, capsys):
  with pytest.raises(SystemExit) as stop:
    command.main(argv)
  assert stop.value.code == 0
  out, err = capsys.readouterr()
  assert err == ""
  if argv == ["--version"]:
    assert out == f"soundstream_jax {soundstream_jax.__version__}\n"
  else:
    assert out.startswith("usage: soundstream")


def test_pin_keeps_a_step_and_remove_lets_it_go(run, refused, workdir):
  model = f"--model={workdir}"
  assert "pinned: 10\n" in run("pin", model, "--step=10")
  assert "pinned: 10, 20\n" in run("pin", model, "--step=20")
  assert manager.pinned(workdir) == {10, 20}
  assert "pinned: 20\n" in run("pin", model, "--step=10", "--remove")
  assert "pinned: none\n" in run("pin", model, "--step=20", "--remove")
  assert "Pinned: none" in refused("pin", model, "--step=20", "--remove")
  assert "Present: 10, 20" in refused("pin", model, "--step=15")


def test_info_and_usage_errors_load_no_jax(encoded):
  code = (
    "import sys\n"
    "from soundstream_jax.codec import __main__ as command\n"
    f"assert command.main(['info', {str(encoded)!r}]) == 0\n"
    "assert command.main(['encdoe']) == 2\n"
    "assert not {'jax', 'flax', 'soundfile', 'absl'} & set(sys.modules)"
  )
  subprocess.run([sys.executable, "-c", code], check=True)


def test_encoding_loads_no_training_and_says_nothing_on_stderr(
  wav, workdir, tmp_path
):
  argv = ["encode", wav(), tmp_path / "a.sstr", f"--model={workdir}"]
  code = (
    "import sys\n"
    "from soundstream_jax.codec import __main__ as command\n"
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
