"""Laws of `soundstream transcode`: what encoding would have written."""

import subprocess
import sys


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
    [sys.executable, "-m", "soundstream_jax.cli", *argv],
    input=high.read_bytes(),
    capture_output=True,
    check=True,
  )
  assert result.stdout == low.read_bytes()
  assert result.stderr.decode() == out.replace(str(piped), "-")
