"""The measuring command: clips, systems and metrics by flags, then results."""

import contextlib
import dataclasses
import json
import os
import pathlib
import sys
from collections.abc import Mapping, Sequence

from soundstream_jax import config as config_lib
from soundstream_jax import console, errors, folder_lock, metrics, whole_files
from soundstream_jax.codec import codec as codec_lib
from soundstream_jax.evaluate import (
  evaluator,
  logs,
  pictures,
  summary,
  systems,
  table,
)
from soundstream_jax.evaluate.measuring import clip_set, controls, pool
from soundstream_jax.evaluate.measuring import model as model_lib
from soundstream_jax.evaluate.systems import system as system_lib

NONE = "none"
_LOCK = ".lock"
# Clips that are drawn, of one source each.
_DRAWN = 3


@dataclasses.dataclass(frozen=True)
class Flags:
  """What is asked for; None is a default that `evaluate` says.

  Attributes:
    folder: of the model.
    out: folder of the results; '' prints alone.
    split: of the model's datasets.
    audio: a folder or file to measure on instead; ''.
    clips: how many.
    clip_seconds: of each.
    bitrates_bps: of the model; [] is none of it.
    metrics: names.
    own_metrics: path of a user's file; ''.
    baselines: names; [] is none.
    codec: path of a user's file; ''.
    sounds: clips of each class that are kept.
    workers: processes that measure.
  """

  folder: str
  out: str = ""
  split: str | None = None
  audio: str = ""
  clips: int | None = None
  clip_seconds: float | None = None
  bitrates_bps: Sequence[float] | None = None
  metrics: Sequence[str] | None = None
  own_metrics: str = ""
  baselines: Sequence[str] | None = None
  codec: str = ""
  sounds: int = 2
  workers: int | None = None


def evaluate(
  flags: Flags, codec: codec_lib.Codec, config: config_lib.Config
) -> None:
  """Measures, prints the table, and writes --out.

  Without --out the metrics that take no time are measured, and nothing else:
  that is a look at a model, in seconds. A folder is what reports are made of,
  so with --out all metrics and all baselines that are here are measured.

  Raises:
    InputError: what cannot be measured; at the end, files that were left out.
    DiskError: the disk cannot be written to.
  """
  chosen, missing_metrics = _metrics(flags)
  baselines, missing_systems = _baselines(flags)
  for title, missing in (
    ("metric", missing_metrics),
    ("baseline", missing_systems),
  ):
    for name, why in missing.items():
      _say(f"missing: {title} {name}: {why}")
  out = pathlib.Path(flags.out) if flags.out else None
  with contextlib.ExitStack() as stack:
    if out is not None:
      with errors.writing("evaluation.json", out):
        stack.enter_context(
          folder_lock.held(
            out / _LOCK,
            what=f"--out={console.shown(out)}: another evaluation is at work "
            "there",
          )
        )
    clips = _clips(flags, codec, config)
    for line in clips.left_out:
      _say(f"left out: {line}")
    model = model_lib.of(codec, flags.folder, clips, out=out)
    result = evaluator.evaluate(
      model,
      clips,
      evaluator.Ask(
        metrics=chosen,
        depths=evaluator.depths(codec, flags.bitrates_bps),
        baselines=baselines,
        sounds=flags.sounds,
        workers=_workers(flags, chosen, baselines),
        own_metrics=flags.own_metrics,
      ),
      out=out,
      spectrum=None if flags.audio else controls.of_training(config),
    )
    values = summary.criteria(result, _early(flags, config, codec.step))
    values |= summary.to_dict(
      result,
      name=pathlib.Path(os.path.abspath(flags.folder)).name,
      missing_metrics=missing_metrics,
      missing_systems=missing_systems,
    )
    for line in table.missing_values(result):
      _say(line)
    print(table.to_text(values))
    print("\n".join(table.versions(result)))
    if out is not None:
      _write(out, result, values, pathlib.Path(flags.folder) / "metrics.jsonl")
  if flags.audio and clips.left_out:
    raise errors.InputError(
      f"--audio={console.shown(flags.audio)}: {len(clips.left_out)} of its "
      "files are left out, as listed above; the others were measured. Mend or "
      "remove them."
    )


def _metrics(
  flags: Flags,
) -> tuple[dict[str, metrics.Metric], dict[str, str]]:
  """Returns the metrics to measure, and why others are not measured."""
  every = pool.table(flags.own_metrics)
  if flags.metrics is not None:
    wanted = metrics.chosen(flags.metrics, every)
    own = [name for name in every if name not in metrics.METRICS]
    wanted |= {name: every[name] for name in own}
  elif flags.out:
    wanted = every
  else:
    wanted = {
      name: metric
      for name, metric in every.items()
      if metric.while_training or name not in metrics.METRICS
    }
  missing = {name: metric.missing() for name, metric in wanted.items()}
  missing = {name: why for name, why in missing.items() if why}
  chosen = {n: metric for n, metric in wanted.items() if n not in missing}
  if not chosen:
    raise errors.InputError(
      f"--metrics={','.join(wanted)}: none of them can be measured here. "
      f"{next(iter(missing.values()), 'Name some')}."
    )
  return chosen, missing


def _baselines(
  flags: Flags,
) -> tuple[list[system_lib.System], dict[str, str]]:
  names = flags.baselines
  if names is None:
    names = list(systems.SYSTEMS) if flags.out else []
  return systems.baselines(names, [flags.codec] if flags.codec else [])


def _workers(
  flags: Flags,
  chosen: Mapping[str, metrics.Metric],
  baselines: Sequence[system_lib.System],
) -> int:
  if flags.workers is not None:
    return flags.workers
  slow = any(not metric.while_training for metric in chosen.values())
  return pool.default_workers() if slow or baselines else 0


def _clips(
  flags: Flags, codec: codec_lib.Codec, config: config_lib.Config
) -> clip_set.ClipSet:
  if flags.audio:
    return clip_set.of_audio(
      flags.audio,
      sample_rate_hz=codec.sample_rate,
      hop=codec.hop_samples,
      clips=flags.clips,
      seconds=flags.clip_seconds,
    )
  return clip_set.of_split(
    config,
    split=flags.split or config.evaluation.split,
    clips=flags.clips,
    seconds=flags.clip_seconds,
  )


def _early(flags: Flags, config: config_lib.Config, step: int) -> float | None:
  """Returns the criterion's metric of the first held-out measurement.

  None where it is not known, or was not of these clips.
  """
  file = pathlib.Path(flags.folder) / "metrics.jsonl"
  split = flags.split or config.evaluation.split
  if flags.audio or split != config.evaluation.split or not file.is_file():
    return None
  name = f"eval/{metrics.CRITERION}"
  for values in logs.read(file):
    if name in values and values["step"] < step:
      return values[name]
  return None


def _write(
  out: pathlib.Path,
  result: evaluator.Evaluation,
  values: Mapping,
  metrics_file: pathlib.Path,
) -> None:
  text = json.dumps(values, indent=2, allow_nan=False)
  whole_files.write(out / "evaluation.json", text + "\n")
  whole_files.write(out / "measurements.csv", summary.to_csv(result))
  if not pictures.possible():
    return
  if result.depths:
    _draw(out, result)
  if metrics_file.is_file():
    pictures.curves(metrics_file, out / "curves.png")


def _draw(out: pathlib.Path, result: evaluator.Evaluation) -> None:
  """Draws a clip of each source, the first ones, at the highest bitrate."""
  model, clips = result.model, result.clips.clips
  first = {}
  for i, clip in enumerate(clips):
    first.setdefault(clip.source, i)
  depth = result.depths[-1]
  pictures.spectrograms(
    {
      clips[i].name: (
        clips[i].load(),
        model.decode(i, depth, frames=len(model.codes[i])),
      )
      for i in list(first.values())[:_DRAWN]
    },
    out / "spectrograms.png",
    bitrate_bps=float(model.codec.rates.bitrate_bps(depth)),
    sample_rate_hz=model.codec.sample_rate,
  )


def _say(line: str) -> None:
  print(console.line(line), file=sys.stderr)
