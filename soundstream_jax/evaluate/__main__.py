"""python -m soundstream_jax.evaluate --workdir=DIR

Measures a model on held-out clips, prints a table and the four criteria, and
with --out writes evaluation.json, measurements.csv, sounds and pictures. With
--out all metrics and all baselines that are installed are measured, on all
cores; the same command goes on where it was stopped.

  python -m soundstream_jax.evaluate --model=DIR --audio=SOUNDS --out=DIR

Measures a run or an exported model on any folder of audio.

  python -m soundstream_jax.evaluate --workdir=DIR --snr_db=5

Takes noise away from held-out speech, with FiLM's flag on and off.

  python -m soundstream_jax.evaluate --workdir=DIR --packet_loss=0.1

Loses a share of the frames in bursts, and says how soon the sound recovers.
"""

import json
import pathlib
import sys

from soundstream_jax import endings

if __name__ == "__main__":  # before what takes seconds to import
  endings.obey()

from absl import app, flags, logging

from soundstream_jax import config as config_lib
from soundstream_jax import errors, paths, whole_files
from soundstream_jax.audio import wav
from soundstream_jax.checkpoint import best
from soundstream_jax.checkpoint import folder as checkpoint_folder
from soundstream_jax.codec import codec as codec_lib
from soundstream_jax.evaluate import command, enhancement, packet_loss, pictures
from soundstream_jax.settings import path_flags

# With --snr_db; an interval needs two.
_NOISY_CLIPS = 24

_WORKDIR = path_flags.define("workdir", None, "Of a training run.")
_MODEL = path_flags.define(
  "model", None, "Folder of a training run, or of an exported model."
)
_WEIGHTS = flags.DEFINE_enum(
  "weights", "ema", ["ema", "raw"], "Averaged or raw parameters."
)
_STEP = flags.DEFINE_string(
  "step", None, "Of a checkpoint, or 'best'; default the newest."
)
_SPLIT = flags.DEFINE_string(
  "split", None, "Of the datasets; default the one that training measures on."
)
_AUDIO = path_flags.define(
  "audio", None, "Folder of audio, or a file, to measure on instead."
)
_BITRATES = flags.DEFINE_list(
  "bitrates",
  [],
  "Bit/s, for example 3000,6000; 'all'; 'none'; default highest and half.",
)
_CLIPS = flags.DEFINE_integer(
  "clips",
  None,
  "How many; default evaluation.num_clips, all files of --audio, and 24 with "
  "--snr_db.",
  lower_bound=1,
)
_SECONDS = flags.DEFINE_float(
  "clip_seconds",
  None,
  "Longest clip; longer sound is cut to its loudest part. Default "
  "evaluation.clip_samples, and 5 of --audio.",
  lower_bound=0.001,
)
_METRICS = flags.DEFINE_list(
  "metrics", None, "Names; default all with --out, else those that are quick."
)
_OWN = path_flags.define(
  "own_metrics", None, "Python file of your own metrics (metrics/own.py)."
)
_BASELINES = flags.DEFINE_list(
  "baselines", None, "Names, or 'none'; default all with --out, else none."
)
_CODEC = path_flags.define(
  "codec", None, "File of another codec's two commands, to compare with."
)
_SOUNDS = flags.DEFINE_integer(
  "sounds", 2, "Clips of each class whose sound --out keeps.", lower_bound=0
)
_WORKERS = flags.DEFINE_integer(
  "workers",
  None,
  "Processes that measure, 0: none but this one; default as many as cores.",
  lower_bound=0,
)
_OUT = path_flags.define(
  "out", None, "Folder for evaluation.json, wav files and pictures."
)
_SNR = flags.DEFINE_float(
  "snr_db", None, "Denoises speech with noise at this ratio instead."
)
_LOSS = flags.DEFINE_float(
  "packet_loss", None, "Loses this share of the frames instead.", 0.001, 0.9
)
flags.DEFINE_string(
  "config", None, "--config.data.sources=DIR and the like override the run's."
)


def main(_):
  logging.set_verbosity(logging.ERROR)
  sys.exit(errors.run(_evaluate))


def _evaluate() -> None:
  flag, folder = _folder_of_model()
  paths.readable(f"--{flag}={folder}", folder)
  for name, file in (
    ("audio", _AUDIO.value),
    ("own_metrics", _OWN.value),
    ("codec", _CODEC.value),
  ):
    if file:
      paths.readable(f"--{name}={file}", file)
  if _OUT.value:
    paths.check_writable_folder(f"--out={_OUT.value}", _OUT.value)
  bitrates = _numbers()
  if _AUDIO.value and _SPLIT.value:
    raise errors.InputError(
      f"--split={_SPLIT.value} and --audio both name clips. Leave one out."
    )
  step = None if _STEP.value is None else best.parse(_STEP.value)
  codec = codec_lib.Codec.load(folder, step=step, weights=_WEIGHTS.value)
  saved = checkpoint_folder.read_config(folder)
  config = config_lib.from_flags(saved or config_lib.to_dict(codec.config))
  split = _SPLIT.value or config.evaluation.split
  if _SNR.value is not None:
    _denoise(codec, config, split, bitrates)
    return
  if _LOSS.value is not None:
    _lose(codec, config, split, bitrates)
    return
  if _BITRATES.value == ["all"]:
    bitrates = [float(bps) for bps in codec.bitrates]
  command.evaluate(
    command.Flags(
      folder=folder,
      out=_OUT.value or "",
      split=_SPLIT.value,
      audio=_AUDIO.value or "",
      clips=_CLIPS.value,
      clip_seconds=_SECONDS.value,
      bitrates_bps=bitrates or (None if not _BITRATES.value else []),
      metrics=_METRICS.value,
      own_metrics=_OWN.value or "",
      baselines=[] if _BASELINES.value == [command.NONE] else _BASELINES.value,
      codec=_CODEC.value or "",
      sounds=_SOUNDS.value,
      workers=_WORKERS.value,
    ),
    codec,
    config,
  )


def _folder_of_model() -> tuple[str, str]:
  """Returns (flag, folder) of the one that is given."""
  given = {"workdir": _WORKDIR.value, "model": _MODEL.value}
  given = {flag: folder for flag, folder in given.items() if folder}
  if not given:
    raise errors.InputError(
      "--workdir is missing. Name a training run's, or an exported model's "
      "folder with --model."
    )
  if len(given) > 1:
    raise errors.InputError(
      "--workdir and --model both name a model. Leave one out."
    )
  ((flag, folder),) = given.items()
  return flag, folder


def _numbers() -> list[float]:
  """Returns the numbers of --bitrates; none of its words."""
  if _BITRATES.value in (["all"], [command.NONE]):
    return []
  try:
    return [float(text) for text in _BITRATES.value]
  except ValueError:
    raise errors.InputError(
      f"--bitrates={','.join(_BITRATES.value)} must be numbers in bit/s, for "
      "example 3000,6000."
    ) from None


def _lose(codec, config, split: str, bitrates: list[float]) -> None:
  result = packet_loss.evaluate(
    codec,
    config,
    split=split,
    rate=_LOSS.value,
    bitrate_bps=_only(bitrates, "--packet_loss"),
  )
  values = packet_loss.to_dict(result)
  print(packet_loss.to_text(values))
  if not _OUT.value:
    return
  out = _folder("packet_loss.json", values)
  rate_hz = codec.sample_rate
  for name, audio in (("whole", result.whole), ("with_losses", result.heard)):
    for i, clip in enumerate(audio):
      wav.write(out / f"{i:02d}_{name}.wav", clip[:, 0], rate_hz)
  if pictures.possible():
    packet_loss.draw(result, out / "packet_loss.png", sample_rate_hz=rate_hz)


def _folder(name: str, values) -> pathlib.Path:
  """Returns --out, made if need be, with the values in it as JSON."""
  out = pathlib.Path(_OUT.value)
  with errors.writing(name, out):
    out.mkdir(parents=True, exist_ok=True)
  whole_files.write(out / name, json.dumps(values, indent=2) + "\n")
  return out


def _only(bitrates: list[float], flag: str) -> float | None:
  """Returns the one bitrate of --bitrates; None is the highest."""
  if len(bitrates) > 1:
    raise errors.InputError(
      f"--bitrates={','.join(_BITRATES.value)}: with {flag} name one bitrate."
    )
  return bitrates[0] if bitrates else None


def _denoise(codec, config, split: str, bitrates: list[float]) -> None:
  if codec.config.model.film == "none":
    raise errors.InputError(
      f"--snr_db={_SNR.value:g}: this model was trained without denoising "
      "(model.film=none). Leave --snr_db out, or evaluate a run of "
      "--config=enhance_24khz."
    )
  result = enhancement.evaluate(
    codec,
    config,
    split=split,
    snr_db=_SNR.value,
    num_clips=max(2, _CLIPS.value or _NOISY_CLIPS),
    bitrate_bps=_only(bitrates, "--snr_db"),
  )
  values = enhancement.to_dict(result)
  print(enhancement.to_text(values))
  if not _OUT.value:
    return
  out = _folder("enhancement.json", values)
  signals = {
    "clean": result.clips.clean.audio,
    "noisy": result.clips.audio,
    "denoised": result.outputs[True],
    "flag_off": result.outputs[False],
  }
  for i, group in enumerate(result.clips.clean.group):
    for name, audio in signals.items():
      path = out / f"{i:02d}_{pathlib.PurePosixPath(group).name}_{name}.wav"
      wav.write(path, audio[i, :, 0], codec.sample_rate)
  if pictures.possible():
    pictures.signals(
      signals, out / "enhancement.png", sample_rate_hz=codec.sample_rate
    )


if __name__ == "__main__":
  app.run(main, flags_parser=config_lib.parse_flags)
