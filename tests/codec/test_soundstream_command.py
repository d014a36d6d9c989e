"""Laws of the command `soundstream`."""

import functools
import math
import subprocess
import sys

import flax.linen as nn
import jax
import numpy as np
import pytest
import soundfile

import soundstream_jax
from soundstream_jax import checkpoint
from soundstream_jax import config as config_lib
from soundstream_jax.codec import __main__ as command
from soundstream_jax.codec import bitstream, fingerprint
from soundstream_jax.codec import codec as codec_lib
from soundstream_jax.model import codebook, soundstream

CONFIG = config_lib.Config(
  audio=config_lib.Audio(sample_rate_hz=16_000),
  model=config_lib.Model(
    encoder_channels=2, decoder_channels=2, strides=(320,), embedding_dim=8
  ),
  quantizer=config_lib.Quantizer(num_quantizers=3, codebook_size=32),
)


def random_params(seed: int):
  random = np.random.default_rng(seed)
  return jax.tree.map(
    lambda leaf: random.normal(
      size=leaf.shape, scale=math.prod(leaf.shape[:-1]) ** -0.5
    ).astype(np.float32),
    nn.meta.unbox(soundstream.declare(CONFIG)),
  )


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
  """A run with the checkpoints 10 and 20, raw and ema weights all different."""
  path = tmp_path_factory.mktemp("run")
  checkpoints = checkpoint.Checkpoints(path, CONFIG.checkpoint)
  for step in (10, 20):
    random = np.random.default_rng(step)
    vectors = random.normal(size=(3, 32, 8)).astype(np.float32)
    items = {
      "params": random_params(step),
      "ema_params": random_params(step + 1),
      "codebooks": codebook.Codebooks(
        vectors=vectors, counts=np.ones((3, 32), np.float32), sums=vectors
      ),
      "trainer": {"step": np.zeros((), np.int32)},
    }
    checkpoints.save(step, items, config=CONFIG, data={})
  checkpoints.wait()
  checkpoints.close()
  return path


@pytest.fixture
def loaded_once(workdir, monkeypatch):
  """Commands share one codec per checkpoint, which compiles once."""
  monkeypatch.setattr(codec_lib.Codec, "load", shared_load)


original_load = codec_lib.Codec.load


@functools.cache
def shared_load(workdir, *, step=None, weights="ema"):
  return original_load(workdir, step=step, weights=weights)


@pytest.fixture
def wav(tmp_path):
  def make(samples=4_000, rate_hz=16_000, channels=1, name="in.wav"):
    noise = np.random.default_rng(samples).normal(size=(samples, channels))
    soundfile.write(tmp_path / name, 0.1 * noise, rate_hz, subtype="PCM_16")
    return tmp_path / name

  return make


@pytest.fixture
def run(capsys):
  """Runs a command that must succeed; returns what it printed."""

  def succeed(*argv):
    assert command.main([str(word) for word in argv]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    return out

  return succeed


@pytest.fixture
def refused(capsys, tmp_path):
  """Runs a command that must fail in one line and leave no file behind."""

  def fail(*argv):
    before = {p: p.read_bytes() for p in tmp_path.iterdir() if p.is_file()}
    assert command.main([str(word) for word in argv]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    after = {p: p.read_bytes() for p in tmp_path.iterdir() if p.is_file()}
    assert after == before
    return err

  return fail


@pytest.fixture
def encoded(wav, run, workdir, loaded_once, tmp_path):
  run("encode", wav(), tmp_path / "a.sstr", f"--model={workdir}")
  return tmp_path / "a.sstr"


@pytest.mark.parametrize("rate_hz", [8_000, 16_000, 22_050, 44_100, 48_000])
def test_every_rate_and_length_decodes_to_exact_sample_counts(
  rate_hz, wav, run, workdir, loaded_once, tmp_path
):
  coded, decoded = tmp_path / "a.sstr", tmp_path / "out.wav"
  for samples in (1, 319, 320, 321, 44_100 * 3 + 7):
    source = wav(samples, rate_hz, channels=2)
    options = (f"--model={workdir}", "--force")
    out = run("encode", source, coded, *options)
    assert f"{rate_hz} Hz, 2 channels, mixed down to 1 channel" in out
    assert ("resampled to 16000 Hz" in out) == (rate_hz != 16_000)
    expected = math.ceil(samples * 16_000 / rate_hz)

    run("decode", coded, decoded, *options)
    assert soundfile.info(decoded).frames == expected
    assert soundfile.info(decoded).samplerate == 16_000

    run("decode", coded, decoded, "--rate=source", *options)
    assert soundfile.info(decoded).frames == samples
    assert soundfile.info(decoded).samplerate == rate_hz
    assert soundfile.info(decoded).channels == 1


def test_every_bitrate_of_the_model_is_the_bitrate_on_disk(
  wav, run, workdir, loaded_once, tmp_path
):
  coded = tmp_path / "a.sstr"
  model, source = f"--model={workdir}", wav(16_000)
  codes = {}
  for layers, bitrate in ((1, 250), (2, 500), (3, 750)):
    out = run("encode", source, coded, model, f"--bitrate={bitrate}", "--force")
    size = 104 + -(-50 * layers * 5 // 8)
    assert coded.stat().st_size == size
    assert f"{layers} layers, {bitrate} bit/s nominal" in out
    assert f"{8 * size:.1f} bit/s on disk" in out
    assert f"{8 * (size - 104):.1f} without the header" in out
    codes[layers] = bitstream.read(coded).codes
  np.testing.assert_array_equal(codes[3][:, :1], codes[1])
  np.testing.assert_array_equal(codes[3][:, :2], codes[2])


def test_decode_equals_the_codec_up_to_16_bits(
  encoded, run, workdir, loaded_once, tmp_path
):
  run("decode", encoded, tmp_path / "out.wav", f"--model={workdir}")
  recording = bitstream.read(encoded)
  codec = codec_lib.Codec.load(str(workdir))
  expected = codec.decode(recording.codes)[: recording.header.model_samples]
  decoded, _ = soundfile.read(tmp_path / "out.wav", dtype="float32")
  np.testing.assert_allclose(
    decoded, np.clip(expected, -1, 1), rtol=0, atol=2**-15
  )


def test_info_prints_every_number_of_the_file(encoded, run):
  out = run("info", encoded)
  header = bitstream.read(encoded).header
  for text in (
    "version 1",
    "129 bytes = 104 header + 25 payload",
    "16000 Hz, 4000 samples, 1 channel, 0.250 s",
    "13 frames of 3 layers, 32 codes of 5 bits",
    "750 bit/s nominal, 4128.0 bit/s on disk (800.0 without the header)",
    header.fingerprint.hex(),
    "20 (ema)",
  ):
    assert text in out


def test_a_file_of_another_checkpoint_names_the_one_that_matches(
  encoded, run, refused, workdir, loaded_once, tmp_path
):
  model, target = f"--model={workdir}", tmp_path / "out.wav"
  recording = bitstream.read(encoded)
  for step, weights in ((10, "ema"), (20, "raw"), (10, "raw")):
    restored = checkpoint.restore_params_only(
      workdir, step=step, weights=weights
    )
    digest = fingerprint.compute(
      restored.config, restored.params, restored.codebooks.vectors
    )
    header = vars(recording.header) | {
      "fingerprint": digest,
      "step": step,
      "weights": weights,
    }
    bitstream.write(encoded, bitstream.Header(**header), recording.codes)
    err = refused("decode", encoded, target, model)
    assert f"made by step {step} ({weights} weights)" in err
    assert f"Use --step={step} --weights={weights}." in err
  run("decode", encoded, target, model, "--step=10", "--weights=raw")


def test_a_wrong_hint_still_finds_the_checkpoint(
  encoded, refused, run, workdir, loaded_once, tmp_path
):
  recording = bitstream.read(encoded)
  header = vars(recording.header) | {"step": 999, "weights": "raw"}
  bitstream.write(encoded, bitstream.Header(**header), recording.codes)
  run("decode", encoded, tmp_path / "out.wav", f"--model={workdir}")
  (tmp_path / "out.wav").unlink()
  err = refused(
    *("decode", encoded, tmp_path / "out.wav"),
    *(f"--model={workdir}", "--step=10"),
  )
  assert "Use --step=20 --weights=ema." in err


def test_a_file_of_another_model_is_refused(
  encoded, refused, workdir, loaded_once, tmp_path
):
  recording = bitstream.read(encoded)
  header = vars(recording.header) | {"fingerprint": bytes(32)}
  bitstream.write(encoded, bitstream.Header(**header), recording.codes)
  err = refused("decode", encoded, tmp_path / "o.wav", f"--model={workdir}")
  assert "belongs to another model" in err
  assert "steps 10, 20" in err


def test_a_file_that_contradicts_its_fingerprint_is_refused(
  encoded, refused, workdir, loaded_once, tmp_path
):
  recording = bitstream.read(encoded)
  header = vars(recording.header) | {"codebook_size": 64}
  bitstream.write(encoded, bitstream.Header(**header), recording.codes)
  err = refused("decode", encoded, tmp_path / "o.wav", f"--model={workdir}")
  assert "codebook_size=64" in err


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


def test_a_truncated_file_is_refused_and_the_output_is_kept(
  encoded, refused, workdir, tmp_path
):
  encoded.write_bytes(encoded.read_bytes()[:-1])
  target = tmp_path / "out.wav"
  target.write_bytes(b"precious")
  err = refused("decode", encoded, target, f"--model={workdir}", "--force")
  assert "truncated: expected 25 bytes, found 24" in err
  assert "truncated" in refused("info", encoded)


def test_an_output_that_cannot_be_written_leaves_nothing(
  wav, refused, workdir, loaded_once, tmp_path, monkeypatch
):
  def full(*args):
    raise OSError(28, "No space left on device")

  monkeypatch.setattr(bitstream.os, "replace", full)
  err = refused("encode", wav(), tmp_path / "a.sstr", f"--model={workdir}")
  assert "No space left on device" in err


def test_bad_paths_are_refused_by_name(
  wav, encoded, refused, workdir, tmp_path
):
  model, source = f"--model={workdir}", wav()
  new = tmp_path / "new.sstr"
  for argv, match in (
    (("encode", tmp_path / "none.wav", new, model), "there is no such file"),
    (("encode", tmp_path, new, model), "this is a folder"),
    (("encode", source, tmp_path, model), "this is a folder"),
    (("encode", source, tmp_path / "no/a.sstr", model), "there is no folder"),
    (("encode", source, source, model, "--force"), "are the same file"),
    (("encode", encoded, new, model), "cannot be read as audio"),
    (("encode", source, new, "--model=nowhere"), "holds no checkpoint"),
    (("encode", source, new, model, "--step=15"), "Present: 10, 20"),
    (("decode", source, tmp_path / "o.wav", model), "not an .sstr file"),
    (("decode", encoded, tmp_path / "o.mp3", model), "Name it o.wav"),
    (("decode", tmp_path, tmp_path / "o.wav", model), "this is a folder"),
    (("info", tmp_path), "Is a directory"),
    (("info", tmp_path / "none.sstr"), "No such file"),
    (("info", source), "not an .sstr file"),
  ):
    assert match in refused(*argv), argv


def test_a_bitrate_that_the_model_lacks_lists_those_it_has(
  wav, refused, workdir, loaded_once, tmp_path
):
  argv = ("encode", wav(), tmp_path / "a.sstr", f"--model={workdir}")
  assert "Use one of: 250, 500, 750." in refused(*argv, "--bitrate=6000")


def test_mistyped_commands_and_options_name_the_nearest(refused):
  for argv, match in (
    ((), "no command. Use one of: encode, decode, info, pin."),
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
  assert checkpoint.pinned(workdir) == {10, 20}
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
  assert bitstream.read(tmp_path / "a.sstr").header.step == 20
