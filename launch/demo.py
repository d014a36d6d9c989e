"""python -m soundstream_jax.launch.demo --out=out/demo

The whole project in six minutes on two cores, without a download: makes three
small datasets of synthetic sound, trains the preset `tiny`, is stopped by
SIGTERM and resumes, evaluates beside Opus, encodes and decodes held-out sound at
two bitrates, and leaves a page, sound, pictures and a text behind. Every stage is
one of the project's commands, printed before it runs.
"""

import contextlib
import importlib.util
import json
import pathlib
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

from soundstream_jax import endings

if __name__ == "__main__":  # before what takes seconds to import
  endings.obey()

from absl import app, flags

from soundstream_jax import (
  config,
  console,
  errors,
  folder_lock,
  os_signals,
  whole_files,
)
from soundstream_jax.settings import lists, path_flags

_MARK = ".demo"  # in a folder that is the demo's

KINDS = ("voices", "instruments", "noises")
MINUTES = 4
# SIGTERM is sent once training has logged this step.
STOP_AFTER_STEP = 100
BITRATES = (6000, 375)
MEASURED = (6000, 3000, 1500, 375)
# NoLACE, the third of Opus, would be downloaded.
BASELINES = ("opus", "low_pass")

_OUT = path_flags.define("out", "out/demo", "Where everything goes.")
_STEPS = flags.DEFINE_integer(
  "steps", None, "Training steps; default the preset's.", lower_bound=1
)


def main(_):
  sys.exit(errors.run(_demo, pathlib.Path(_OUT.value)))


def _demo(out: pathlib.Path) -> None:
  _check_own(out)
  with contextlib.ExitStack() as stack:
    with errors.writing("the demo", out):
      stack.enter_context(
        folder_lock.held(
          out / _MARK, what=f"--out={out}: another demo is at work there"
        )
      )
      _make_empty(out)
    _run_all(out)


def _run_all(out: pathlib.Path) -> None:
  began = time.monotonic()
  workdir = out / "workdir"

  _title(began, f"Make three datasets of {MINUTES} minutes each")
  for kind in KINDS:
    _run(
      *_module("data_pipelines.prepare"),
      "--dataset=synthetic",
      f"--kind={kind}",
      f"--minutes={MINUTES}",
      f"--out={out / 'data' / kind}",
    )

  sources = ",".join(str(out / "data" / kind) for kind in KINDS)
  train = [
    *_module("train"),
    "--config=tiny",
    f"--workdir={workdir}",
    f"--config.data.sources={sources}",
  ]
  if _STEPS.value:
    train.append(f"--config.num_steps={_STEPS.value}")
  _title(began, "Train, and lose the machine on the way")
  _train_until_stopped(train, workdir / "metrics.jsonl")
  _title(began, "The same command resumes")
  _run(*train)

  _title(began, "Evaluate on sound that training has not seen")
  results = out / "results"
  _run(
    *_module("evaluate"),
    f"--workdir={workdir}",
    f"--bitrates={','.join(map(str, MEASURED))}",
    f"--baselines={','.join(BASELINES)}",
    f"--out={results}",
  )
  values = json.loads((results / "evaluation.json").read_text())

  _title(began, "Encode and decode held-out sound at two bitrates")
  original = results / f"sounds/00_{KINDS[0]}/original.wav"
  for bitrate in BITRATES:
    _encode_and_decode(original, results / f"{bitrate}.sstr", workdir, bitrate)

  page = out / "report.html"
  _title(began, "Show all of it on one page")
  if importlib.util.find_spec("matplotlib"):
    _run(
      *_module("evaluate.report"),
      f"--runs={lists.join(map(str, (workdir, results)))}",
      f"--out={page}",
    )
  else:
    print("left out: pip install 'soundstream_jax[plots]' draws it.")

  text = _explain(out, workdir, sources, values, original)
  whole_files.write(out / "README.txt", text)
  _title(began, "Done")
  print(text)
  failed = [n for n, passed in values["criteria"].items() if passed is False]
  if failed:
    raise errors.InputError(f"the model is not what it should be: {failed}.")


def _check_own(out: pathlib.Path) -> None:
  """Refuses a folder in which an earlier demo has not worked.

  Raises:
    InputError: it holds anything else, or is a file.
  """
  if out.is_file():
    raise errors.InputError(f"--out={out} is a file. Use an empty folder.")
  if out.exists() and any(out.iterdir()) and not (out / _MARK).exists():
    raise errors.InputError(
      f"--out={out} holds files that no demo made. Use an empty folder."
    )


def _make_empty(out: pathlib.Path) -> None:
  """Removes what an earlier demo left in a folder that this one holds."""
  for path in out.iterdir():
    if path.is_dir():
      shutil.rmtree(path)
    elif path.name != _MARK:
      path.unlink()


def _encode_and_decode(
  original: pathlib.Path,
  coded: pathlib.Path,
  workdir: pathlib.Path,
  bitrate: int,
) -> None:
  """Codes a sound and decodes it to a .wav beside its .sstr."""
  model = f"--model={workdir}"
  command = _module("cli")
  _run(*command, "encode", original, coded, model, f"--bitrate={bitrate}")
  _run(*command, "info", coded)
  _run(*command, "decode", coded, coded.with_suffix(".wav"), model)


def _module(name: str) -> list[str]:
  return [sys.executable, "-m", f"soundstream_jax.{name}"]


def _title(began: float, text: str) -> None:
  minutes, seconds = divmod(round(time.monotonic() - began), 60)
  print(f"\n=== {minutes}:{seconds:02d}  {text}", flush=True)


def _announce(command) -> list[str]:
  words = [str(word) for word in command]
  shown = ["python" if word == sys.executable else word for word in words]
  print(f"$ {' '.join(map(console.quoted, shown))}", flush=True)
  return words


def _run(*command) -> None:
  with _started(command) as process:
    code = process.wait()
  if code == errors.EXIT_DISK:
    raise errors.DiskError("the command above could not write.")
  if code:
    raise errors.InputError(f"the command above ended with exit code {code}.")


@contextlib.contextmanager
def _started(command) -> Iterator[subprocess.Popen]:
  """Starts a command, which does not outlive this process."""

  def stop(number, frame):
    raise endings.Stopped(128 + number)

  handlers = os_signals.Handlers()
  with endings.patient():
    handlers.install(endings.obeyed(), stop)
    process = subprocess.Popen(_announce(command))
    try:
      yield process
    finally:
      # Ctrl-C has reached it, too, and it tidies up; then this process ends.
      if process.poll() is None:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
          process.wait(endings.GRACE_SECONDS - 1)
        process.kill()
        process.wait()
      handlers.restore()


def _train_until_stopped(command, metrics: pathlib.Path) -> None:
  """Starts training, sends SIGTERM after some steps, expects it to save."""
  with _started(command) as process:
    while process.poll() is None:
      if _last_step(metrics) >= STOP_AFTER_STEP:
        print("$ kill -TERM", process.pid, flush=True)
        process.send_signal(signal.SIGTERM)
        break
      time.sleep(0.2)
    code = process.wait()
  if code == errors.EXIT_DISK:
    raise errors.DiskError("training, above, could not write.")
  if code not in (0, errors.EXIT_PREEMPTED):
    raise errors.InputError(f"training ended with exit code {code}.")


def _last_step(metrics: pathlib.Path) -> int:
  if not metrics.is_file():
    return 0
  lines = metrics.read_text().splitlines()
  # The last line may be half written.
  return max((json.loads(line)["step"] for line in lines[-2:-1]), default=0)


def _explain(out, workdir, sources, values, original) -> str:
  best = values["rates"][-1]
  workdir = console.quoted(workdir)
  marks = {True: "yes", False: "NO", None: "not measured"}
  criteria = "\n".join(
    f"  {marks[passed]:>12}  {name}"
    for name, passed in values["criteria"].items()
  )
  return f"""\
What the demo left in {console.shown(out)}

report.html                   all of it on a page: open it in a browser
results/{original.relative_to(out / "results")}   held-out sound, as it was
results/6000.wav, 375.wav     the same after encoding at 6 and 0.375 kbit/s
results/6000.sstr, 375.sstr   the files in between; `soundstream info FILE`
results/sounds/NN_*/          held-out voices, instruments and noises, and what
                              the model and other codecs make of them
results/spectrograms.png      the same as pictures
results/curves.png            the losses while it trained
results/evaluation.json       the numbers; measurements.csv has each clip's
workdir/                      checkpoints, metrics.jsonl, tensorboard/
data/                         the three prepared datasets

Log-mel distance at {best["bitrate_bps"]:.0f} bit/s: {best["log_mel"]:.3f}, \
{best["si_sdr_db"]:.1f} dB SI-SDR.
{criteria}

What to type next
  soundstream encode YOURS.wav yours.sstr --model={workdir} --bitrate=6000
  soundstream decode yours.sstr back.wav --model={workdir}
  python -m soundstream_jax.train --workdir={workdir} --config.num_steps=3000
  tensorboard --logdir={workdir}

On your own sound
  python -m soundstream_jax.data_pipelines.prepare --dataset=audio_folder \\
    --input=FOLDER --out=DATA
  python -m soundstream_jax.train --config=tiny --workdir=RUN \\
    --config.data.sources=DATA
"""


if __name__ == "__main__":
  app.run(main, flags_parser=config.parse_flags)
