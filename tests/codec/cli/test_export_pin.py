"""Laws of `soundstream export` and `pin`: checkpoints that stay."""

from soundstream_jax.checkpoint import folder as folder_lib


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


def test_pin_keeps_a_step_and_remove_lets_it_go(run, refused, workdir):
  model = f"--model={workdir}"
  assert "pinned: 10\n" in run("pin", model, "--step=10")
  assert "pinned: 10, 20\n" in run("pin", model, "--step=20")
  assert folder_lib.pinned(workdir) == {10, 20}
  assert "pinned: 20\n" in run("pin", model, "--step=10", "--remove")
  assert "pinned: none\n" in run("pin", model, "--step=20", "--remove")
  assert "Pinned: none" in refused("pin", model, "--step=20", "--remove")
  assert "Present: 10, 20" in refused("pin", model, "--step=15")
