"""python -m soundstream_jax.evaluate --workdir=DIR

Reconstructs held-out clips with a checkpoint, prints a table and the four
criteria, and with --out writes evaluation.json, wav files and pictures.

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
from soundstream_jax import errors, metrics, paths, whole_files
from soundstream_jax.audio import wav
from soundstream_jax.checkpoint import best, folder
from soundstream_jax.codec import codec as codec_lib
from soundstream_jax.evaluate import (
  enhancement,
  evaluator,
  logs,
  packet_loss,
  pictures,
  table,
)
from soundstream_jax.settings import path_flags

_WORKDIR = path_flags.define("workdir", None, "Of a training run.")
_WEIGHTS = flags.DEFINE_enum(
  "weights", "ema", ["ema", "raw"], "Averaged or raw parameters."
)
_STEP = flags.DEFINE_string(
  "step", None, "Of a checkpoint, or 'best'; default the newest."
)
_SPLIT = flags.DEFINE_string(
  "split", None, "Of the datasets; default the one that training measures on."
)
_BITRATES = flags.DEFINE_list(
  "bitrates", [], "Bit/s, for example 3000,6000; default highest and half."
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
_CLIPS = flags.DEFINE_integer(
  "clips", 24, "How many of them, with --snr_db.", lower_bound=2
)
flags.DEFINE_string(
  "config", None, "--config.data.sources=DIR and the like override the run's."
)


def main(_):
  logging.set_verbosity(logging.ERROR)
  sys.exit(errors.run(_evaluate))


def _evaluate() -> None:
  workdir = _WORKDIR.value
  if not workdir:
    raise errors.InputError("--workdir is missing. Name a training run's.")
  paths.readable(f"--workdir={workdir}", workdir)
  if _OUT.value:
    paths.check_writable_folder(f"--out={_OUT.value}", _OUT.value)
  try:
    bitrates = [float(text) for text in _BITRATES.value]
  except ValueError:
    raise errors.InputError(
      f"--bitrates={','.join(_BITRATES.value)} must be numbers in bit/s, for "
      "example 3000,6000."
    ) from None
  step = None if _STEP.value is None else best.parse(_STEP.value)
  codec = codec_lib.Codec.load(workdir, step=step, weights=_WEIGHTS.value)
  saved = folder.read_config(workdir) or config_lib.to_dict(codec.config)
  config = config_lib.from_flags(saved)
  split = _SPLIT.value or config.evaluation.split
  if _SNR.value is not None:
    _denoise(codec, config, split, bitrates)
    return
  if _LOSS.value is not None:
    _lose(codec, config, split, bitrates)
    return
  result = evaluator.evaluate(codec, config, split=split, bitrates_bps=bitrates)
  metrics_file = pathlib.Path(workdir) / "metrics.jsonl"
  early = None
  if split == config.evaluation.split and metrics_file.is_file():
    early = _early(metrics_file, codec.step)
  values = table.to_dict(result, early)
  print(table.to_text(values))
  if _OUT.value:
    out = _folder("evaluation.json", values)
    names = _write(out, result, codec.sample_rate)
    if not pictures.possible():
      return
    pictures.spectrograms(
      result,
      names,
      out / "spectrograms.png",
      sample_rate_hz=codec.sample_rate,
    )
    if metrics_file.is_file():
      pictures.curves(metrics_file, out / "curves.png")


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
    num_clips=_CLIPS.value,
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


def _write(out: pathlib.Path, result, sample_rate_hz: int) -> list[str]:
  """Writes the clips and their reconstructions; returns the clips' names."""
  names = [
    f"{i:02d}_{pathlib.Path(result.clips.source_names[source]).name}"
    for i, source in enumerate(result.clips.source_index)
  ]
  for name, clip, output in zip(
    names, result.clips.audio, result.outputs, strict=True
  ):
    wav.write(out / f"{name}_original.wav", clip[:, 0], sample_rate_hz)
    wav.write(out / f"{name}_decoded.wav", output[:, 0], sample_rate_hz)
  return names


def _early(metrics_file: pathlib.Path, step: int) -> float | None:
  """Returns the criterion's metric of the first held-out measurement."""
  name = f"eval/{metrics.CRITERION}"
  for values in logs.read(metrics_file):
    if name in values and values["step"] < step:
      return values[name]
  return None


if __name__ == "__main__":
  app.run(main, flags_parser=config_lib.parse_flags)
