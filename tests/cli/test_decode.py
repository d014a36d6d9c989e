"""Laws of `soundstream decode`: the codec's sound, in spite of damage."""

import dataclasses
import struct
import zlib

import numpy as np
import soundfile

from soundstream_jax import errors
from soundstream_jax.cli import __main__ as command
from soundstream_jax.codec import offline, trained_model
from soundstream_jax.codec.sstr import packing, reader, writer
from soundstream_jax.codec.sstr.entropy import frequencies, table_files
from soundstream_jax.codec.stream import concealment


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


def test_decode_equals_the_codec_up_to_16_bits(
  encoded, run, workdir, loaded_once, tmp_path
):
  run("decode", encoded, tmp_path / "out.wav", f"--model={workdir}")
  recording = reader.read(encoded)
  model = trained_model.load(str(workdir))
  expected = offline.decode(model, recording.codes[0])[
    : recording.model_samples
  ]
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


def test_a_header_cannot_ask_for_a_hundred_times_the_models_rate(
  encoded, rewritten, run, refused, workdir, loaded_once, tmp_path
):
  rewritten(source_rate_hz=2**31, source_samples=2**29)
  argv = ("decode", encoded, tmp_path / "out.wav", f"--model={workdir}")
  assert "Use --rate=model" in refused(*argv, "--rate=source")
  run(*argv)


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
  code = command.main(["decode", str(coded), str(target), model])
  assert code == errors.EXIT_BAD_INPUT
  out, err = capsys.readouterr()
  text = "at 5.120 s: the first layer is damaged: 256 frames lost"
  assert err == f"damaged: {coded}: {text}\n"
  assert "192000 samples" in out
  assert f"{coded}: {text}" in refused("info", coded)
  found, _ = soundfile.read(target, dtype="float32")
  codes = reader.from_bytes(whole).codes[0]
  expected = offline.decode(trained_model.load(str(workdir)), codes)
  expected = expected[: len(found)]
  hop, context = 320, 2_000
  kept = np.r_[: 256 * hop, 512 * hop + context : len(found)]
  np.testing.assert_allclose(
    found[kept], np.clip(expected, -1, 1)[kept], rtol=0, atol=2**-15
  )
  faded = concealment.HOLD_S + concealment.FADE_S
  silent = np.arange(256 * hop + round(faded * 16_000) + hop, 512 * hop)
  assert not found[silent].any()


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
