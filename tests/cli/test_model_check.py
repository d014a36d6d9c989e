"""Laws of which model decodes a file: its own, or one line says whose it is."""

from soundstream_jax.checkpoint import fingerprint
from soundstream_jax.checkpoint import weights as weights_lib


def test_a_file_of_another_checkpoint_names_the_one_that_matches(
  encoded, rewritten, run, refused, workdir, loaded_once, tmp_path
):
  model, target = f"--model={workdir}", tmp_path / "out.wav"
  for step, weights in ((10, "ema"), (20, "raw"), (10, "raw")):
    restored = weights_lib.restore(workdir, step=step, weights=weights)
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
