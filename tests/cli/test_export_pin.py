"""Laws of `soundstream export` and `pin`: checkpoints that stay."""

import dataclasses
import json
import shutil

from soundstream_jax import config as config_lib
from soundstream_jax.checkpoint import folder as folder_lib
from soundstream_jax.checkpoint import integrity


def test_an_exported_model_is_the_checkpoint(
  wav, run, refused, encoded, workdir, loaded_once, tmp_path
):
  folder = tmp_path / "models" / "small"
  out = run("export", folder, f"--model={workdir}")
  assert "step 20 (ema)" in out
  assert {path.name for path in folder.iterdir()} == {
    "model.json",
    "model.safetensors",
    "LICENSE",
    "README.md",
    "export.json",
    "golden.npz",
    "parity.json",
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
  assert "is the workdir of a run. Name another" in refused(
    "export", workdir, f"--model={workdir}"
  )


def test_pin_keeps_a_step_and_remove_lets_it_go(run, refused, workdir):
  model = f"--model={workdir}"
  assert "pinned: 10\n" in run("pin", model, "--step=10")
  assert "pinned: 10, 20\n" in run("pin", model, "--step=20")
  assert folder_lib.pinned(workdir) == {10, 20}
  assert "pinned: 20\n" in run("pin", model, "--step=10", "--remove")
  assert "pinned: none\n" in run("pin", model, "--step=20", "--remove")
  assert "Pinned: none" in refused("pin", model, "--step=20", "--remove")
  assert "Present: 10, 20" in refused("pin", model, "--step=15")


def test_the_best_step_has_a_name(wav, run, refused, workdir, tmp_path):
  model = tmp_path / "run"
  shutil.copytree(workdir, model)
  for words in (("pin",), ("export", tmp_path / "out")):
    assert "does not say by which metric" in refused(
      *words, f"--model={model}", "--step=best"
    )
  config = config_lib.from_dict(folder_lib.read_meta(model, 10)["config"])
  best_of = dataclasses.replace(config.checkpoint, best_of="si_sdr_db")
  folder_lib.write_config(
    model, dataclasses.replace(config, checkpoint=best_of)
  )
  for step, value in ((10, 2.0), (20, 1.0)):
    meta = model / f"checkpoints/{step}/meta/metadata"
    values = json.loads(meta.read_text()) | {"held_out": {"si_sdr_db": value}}
    meta.write_text(json.dumps(values))
    (model / f"checkpoints/{step}" / integrity.SUMS).unlink()
  assert "pinned: 10\n" in run("pin", f"--model={model}", "--step=best")
  assert "pinned: none\n" in run(
    "pin", f"--model={model}", "--step=best", "--remove"
  )
  folder = tmp_path / "best"
  assert "step 10 (ema)" in run(
    "export", folder, f"--model={model}", "--step=best"
  )
  assert "of step=10, not best" in refused(
    "encode", wav(), tmp_path / "b.sstr", f"--model={folder}", "--step=best"
  )
  assert "or 'best'" in refused("pin", f"--model={model}", "--step=last")
