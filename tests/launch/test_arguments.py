"""Training's flags as launchers read them, before anything is queued."""

import json
import subprocess
import sys

import pytest

from soundstream_jax import config as config_lib
from soundstream_jax import errors
from soundstream_jax.checkpoint import folder
from soundstream_jax.launch import arguments

GOOD = ["--config=tiny", "--workdir=/runs/a", "--config.data.sources=/data"]


@pytest.fixture(autouse=True)
def no_flags_before():
  config_lib.parse_flags(["launcher"])


def check(*words):
  return arguments.check(list(words), example="--nodes=2")


@pytest.fixture
def run(tmp_path):
  """A run's workdir, of `tiny` with other steps, seen from here."""
  workdir = tmp_path / "run"
  workdir.mkdir()
  saved = config_lib.load("tiny")
  saved.num_steps = 77
  saved.data.sources = "/data"
  folder.write_config(workdir, config_lib.from_dict(saved))
  return workdir


@pytest.mark.parametrize(
  "words",
  [
    GOOD,
    [*GOOD, "--config.batch_size=8"],
    ["--config", "tiny", "--workdir", "/runs/a", "--config.data.sources", "/d"],
    ["-config=tiny", *GOOD[1:], "--heartbeat_seconds=30", "--v=1"],
    # No dataset is looked at, and none of its weights is lost.
    [*GOOD[:2], "--config.data.sources=/mnt/none:0.2,/mnt/nowhere:0.8"],
  ],
)
def test_what_training_would_take_is_taken(words):
  training = check(*words)
  assert training.workdir == "/runs/a"
  assert training.config.batch_size in (4, 8)


def test_overrides_are_read():
  assert check(*GOOD, "--config.batch_size=12").config.batch_size == 12
  # Of two the last counts, as in training.
  last = check(*GOOD, "--config.batch_size=12", "--config.batch_size=16")
  assert last.config.batch_size == 16


def test_flags_of_an_earlier_command_line_are_not_seen():
  check(*GOOD, "--config.batch_size=12")
  assert check(*GOOD).config.batch_size == 4
  with pytest.raises(errors.InputError, match="no --workdir"):
    check(*GOOD[:1])


@pytest.mark.parametrize(
  ("words", "line"),
  [
    (
      [],
      "nothing to run. Put training's flags behind --, as in: --nodes=2 -- ",
    ),
    (["--config=tinny", *GOOD[1:]], "is not a preset. Did you mean 'tiny'?"),
    (["--config=a.py", *GOOD[1:]], "--config=a.py: there is no such file."),
    ([*GOOD, "--config.batchsize=3"], "Did you mean 'batch_size'?"),
    ([*GOOD, "--config.batch_size=x"], "batch_size=x is not a whole number"),
    ([*GOOD, "--config.batch_size"], "--config.batch_size has no value."),
    ([*GOOD, "--config.microbatches=0"], "microbatches=0 must be at least 1."),
    (["--workdirr=x"], "no flag --workdirr. Did you mean 'workdir'?"),
    ([*GOOD, "--heartbeat=3"], "Did you mean 'heartbeat_seconds'?"),
    ([*GOOD, "--heartbeat_seconds=x"], "heartbeat_seconds=x"),
    ([*GOOD, "word"], "unexpected argument 'word'"),
    ([*GOOD, "--num_processes=2"], "--num_processes is for processes that are"),
    ([*GOOD, "--process_id", "0"], "--process_id is for processes that are"),
    (GOOD[:1], "training has no --workdir."),
    ([*GOOD, "--workdir=gs://b/r"], "--workdir=gs://b/r is an address"),
    (GOOD[1:], "--config is missing, and no run is seen from here in /runs/a."),
    (GOOD[:2], "data.sources is empty: there is nothing to train on."),
    ([*GOOD, "--config.data.sources=gs://b/d"], "data.sources=gs://b/d is an"),
    ([*GOOD, "--config.data.sources=/d:x"], "write DIR:weight"),
    (
      [*GOOD, "--config.init_from=gs://b/r"],
      "init_from=gs://b/r is an address",
    ),
    (
      [*GOOD[:2], "--config.data.mixture.noisy_speech=1"],
      "data.speech is empty, but data.mixture.noisy_speech=1 needs it.",
    ),
    (
      [
        *GOOD[:2],
        "--config.data.mixture.reverberant_speech=1",
        "--config.data.speech=/d",
      ],
      "data.rooms is empty, but data.mixture.reverberant_speech=1 needs it.",
    ),
    (
      [*GOOD, "--config.quantizer.codebook_size=1024"],
      "480 frames for 1024 codes",
    ),
  ],
)
def test_what_training_would_refuse_is_refused(words, line):
  with pytest.raises(errors.InputError) as refused:
    check(*words)
  assert line in str(refused.value)


def test_flags_of_training_before_the_dashes_are_not_lost():
  for flag in ("--config=tiny", "--config.batch_size=8"):
    words = arguments.parse(["launcher", flag, "--", *GOOD])
    with pytest.raises(errors.InputError, match="--config stands before --"):
      check(*words[1:])


def test_a_run_that_is_seen_from_here_needs_no_config(run):
  training = check(f"--workdir={run}")
  assert training.config.num_steps == 77
  more = check(f"--workdir={run}", "--config.num_steps=99")
  assert more.config.num_steps == 99


def test_another_configuration_than_the_runs_is_refused(run):
  with pytest.raises(errors.InputError, match="seed: 0 -> 3"):
    check(f"--workdir={run}", "--config.seed=3")


def test_a_run_that_has_its_codebooks_needs_no_frames_for_k_means(run):
  few = "--config.data.crop_samples=1280"  # 128 frames, for 32 codes
  config = json.loads((run / "config.json").read_text())
  config["data"]["crop_samples"] = 1280
  config["quantizer"]["codebook_size"] = 1024
  (run / "config.json").write_text(json.dumps(config))
  with pytest.raises(errors.InputError, match="128 frames for 1024 codes"):
    check(f"--workdir={run}", few)
  (run / "checkpoints/5/meta").mkdir(parents=True)
  check(f"--workdir={run}", few)
  fresh = [*GOOD, few, "--config.quantizer.codebook_size=1024"]
  check(*fresh, "--config.init_from=/runs/other")


def test_a_damaged_configuration_is_one_line(run):
  (run / "config.json").write_text("{")
  with pytest.raises(errors.InputError, match="is not valid JSON"):
    check(f"--workdir={run}")


@pytest.mark.parametrize(
  ("overrides", "devices", "processes", "said"),
  [
    ({}, 4, 2, None),
    ({}, 1, 1, None),
    ({}, 3, 3, "batch_size=4 is not a multiple of the 3 devices. Use 3."),
    ({"batch_size": 3}, 2, 2, "batch_size=3 is not a multiple of the 2"),
    ({"microbatches": 2}, 2, 2, None),
    ({"microbatches": 2}, 4, 2, "the 4 devices times microbatches=2. Use 8."),
    ({"mesh.fsdp": 2}, 4, 2, None),
    ({"mesh.fsdp": 3}, 4, 2, "mesh.fsdp=3 do not cover the 4 devices."),
    ({"mesh.data": 2}, 2, 2, None),
    ({"mesh.data": 2}, 4, 2, "mesh.data=2, mesh.fsdp=1 do not cover the 4"),
    # One process may leave devices idle, and then shares by those it uses.
    ({"mesh.data": 2}, 3, 1, None),
    ({"mesh.data": 3}, 4, 1, "batch_size=4 is not a multiple of the 3 devices"),
  ],
)
def test_mesh_and_batch_have_to_fit_the_devices(
  overrides, devices, processes, said
):
  flags = [f"--config.{name}={value}" for name, value in overrides.items()]
  config = check(*GOOD, *flags).config
  if said is None:
    arguments.check_devices(config, devices, processes=processes)
    return
  with pytest.raises(errors.InputError) as refused:
    arguments.check_devices(config, devices, processes=processes)
  assert said in str(refused.value)


def test_the_check_alone_is_a_command(tmp_path):
  def run(*words):
    return subprocess.run(
      [sys.executable, "-m", "soundstream_jax.launch.check", *words],
      cwd=tmp_path,
      capture_output=True,
      text=True,
      check=False,
    )

  good = run("--devices=4", "--", *GOOD)
  assert (good.returncode, good.stdout, good.stderr) == (0, "", "")
  bad = run("--devices=3", "--", *GOOD)
  assert (bad.returncode, bad.stdout) == (2, "")
  assert bad.stderr == (
    "error: batch_size=4 is not a multiple of the 3 devices. Use 3.\n"
  )
  assert list(tmp_path.iterdir()) == []


def test_a_launcher_loads_no_jax():
  code = (
    "import sys; from soundstream_jax.launch import check, slices\n"
    "print([m for m in ('jax', 'numpy', 'grain') if m in sys.modules])"
  )
  done = subprocess.run(
    [sys.executable, "-c", code], capture_output=True, text=True, check=True
  )
  assert done.stdout == "[]\n"


@pytest.mark.parametrize(
  ("command", "line"),
  [
    ("demo --steps=0", "flag --steps=0"),
    (
      "preflight --config=tiny --topology=cpu:4 --json=none/a.json",
      "--json=none/a.json: there is no folder none.",
    ),
    (
      "preflight --config=tiny --topology=cpu:4 --hlo=.",
      "--hlo=. is a folder. Name a file.",
    ),
    (
      "preflight --config=tiny --topology=cpu:3",
      "batch_size=4 is not a multiple of the 3 devices.",
    ),
  ],
)
def test_what_is_read_at_the_end_is_checked_at_the_start(
  tmp_path, command, line
):
  name, *words = command.split()
  done = subprocess.run(
    [sys.executable, "-m", f"soundstream_jax.launch.{name}", *words],
    cwd=tmp_path,
    capture_output=True,
    text=True,
    check=False,
  )
  assert (done.returncode, done.stdout) == (2, "")
  assert done.stderr.startswith(f"error: {line}")
  assert done.stderr.count("\n") == 1
  assert list(tmp_path.iterdir()) == []
