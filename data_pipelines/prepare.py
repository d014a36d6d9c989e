"""Makes a dataset that training can point at.

  python -m soundstream_jax.data_pipelines.prepare \\
    --dataset=audio_folder --input=DIR --out=DIR [--group_by=parent]
  python -m soundstream_jax.data_pipelines.prepare \\
    --dataset=synthetic --kind=voices --minutes=4 --out=DIR

Then train with --config.data.sources=DIR. `--out` appears when it is complete.
Files that cannot be read are skipped and listed at the end.
"""

import pathlib
import sys
from collections.abc import Sequence

from absl import flags

from soundstream_jax import errors
from soundstream_jax.data_pipelines import (
  audio_folder,
  interrupts,
  progress,
  records,
  synthetic,
)

_INTERRUPTED = 130
# Flags that only one dataset reads; giving them for the other is a mistake.
_ONLY_FOR = {
  "input": "audio_folder",
  "group_by": "audio_folder",
  "kind": "synthetic",
  "minutes": "synthetic",
  "seed": "synthetic",
}


def define_flags() -> flags.FlagValues:
  """Returns this command's flags, apart from those of the process."""
  values = flags.FlagValues()
  text = {"flag_values": values}
  flags.DEFINE_string(
    "dataset", None, "Which pipeline: audio_folder or synthetic.", **text
  )
  flags.DEFINE_string("out", "", "Folder to be made: the dataset.", **text)
  flags.DEFINE_string(
    "split", "90,5,5", "Percentages for train, validation and test.", **text
  )
  flags.DEFINE_integer(
    "sample_rate", 24_000, "Sample rate in Hz.", 1_000, 768_000, **text
  )
  flags.DEFINE_string(
    "input", "", "audio_folder: folder of wav, flac, ogg, opus, mp3.", **text
  )
  flags.DEFINE_string(
    "group_by",
    "parent",
    "audio_folder: what stays in one split: parent (folder), file, depth:N "
    "(the first N folders), or a regular expression with one group that is "
    "searched in the path below --input.",
    **text,
  )
  flags.DEFINE_string(
    "kind", "voices", "synthetic: voices, instruments or noises.", **text
  )
  flags.DEFINE_float("minutes", 4.0, "synthetic: minutes of audio.", **text)
  flags.DEFINE_integer("seed", 0, "synthetic: seed.", 0, **text)
  flags.DEFINE_bool("help", False, "Shows this text.", **text)
  return values


def main(argv: Sequence[str]) -> int:
  """Runs the command; argv[0] is its name.

  Raises:
    InputError: a flag, a path or the audio behind it cannot be used.
  """
  values = _parse(argv)
  if values.help:
    print(f"{__doc__}\n{values.get_help()}")
    return 0
  run = {"audio_folder": _audio_folder, "synthetic": _synthetic}
  if values.dataset not in run:
    given = "is missing" if values.dataset is None else "is unknown"
    raise errors.InputError(
      f"--dataset={values.dataset or ''} {given}."
      f"{errors.nearest(values.dataset or '', run)} Use one of: "
      f"{', '.join(run)}."
    )
  for name, dataset in _ONLY_FOR.items():
    if values[name].present and values.dataset != dataset:
      raise errors.InputError(
        f"--{name} belongs to --dataset={dataset}, not to "
        f"--dataset={values.dataset}. Leave it out."
      )
  try:
    with interrupts.Interrupts() as watcher:
      run[values.dataset](values, watcher)
  except KeyboardInterrupt:
    print("interrupted; nothing was written.", file=sys.stderr)
    return _INTERRUPTED
  return 0


def _audio_folder(
  values: flags.FlagValues, watcher: interrupts.Interrupts
) -> None:
  percentages = records.parse_split(values.split)
  out = records.check_out(values.out)
  files = audio_folder.find(values.input, group_by=values.group_by)
  splits = audio_folder.assign(files, percentages)
  reader = audio_folder.Reader(splits, sample_rate_hz=values.sample_rate)
  try:
    tallies = records.write(
      out,
      pieces={
        split: lambda split=split: watcher.watch(reader.pieces(split))
        for split in splits
      },
      sample_rate_hz=values.sample_rate,
      details={
        "dataset": values.dataset,
        "split": values.split,
        "group_by": values.group_by,
      },
    )
  finally:
    reader.close()
    _list_skipped(reader.skipped, len(files))
  _summarize(values, tallies)


def _synthetic(
  values: flags.FlagValues, watcher: interrupts.Interrupts
) -> None:
  percentages = records.parse_split(values.split)
  splits, seconds = synthetic.plan(
    values.kind, minutes=values.minutes, percentages=percentages
  )
  out = records.check_out(values.out)
  shown = progress.Progress()
  made = 0

  def pieces(split):
    nonlocal made
    for index in splits[split]:
      yield synthetic.piece(
        values.kind,
        index,
        seconds=seconds,
        seed=values.seed,
        sample_rate_hz=values.sample_rate,
      )
      made += 1
      shown.update(made * seconds / (60 * values.minutes), made * seconds)

  try:
    tallies = records.write(
      out,
      pieces={
        split: lambda split=split: watcher.watch(pieces(split))
        for split in splits
      },
      sample_rate_hz=values.sample_rate,
      details={
        "dataset": values.dataset,
        "split": values.split,
        "kind": values.kind,
        "seed": values.seed,
      },
    )
  finally:
    shown.close()
  _summarize(values, tallies)


def _list_skipped(skipped: list[audio_folder.Skipped], total: int) -> None:
  if skipped:
    print(f"skipped {len(skipped)} of {total} files:", file=sys.stderr)
  for file in skipped:
    print(f"  {file.name}: {file.reason}", file=sys.stderr)


def _summarize(
  values: flags.FlagValues, tallies: dict[str, records.Tally]
) -> None:
  """Prints what each split came to, and warnings about those that are empty."""
  rate_hz = values.sample_rate
  print(f"{'split':<12}{'hours':>8}{'records':>9}{'groups':>8}{'MB':>10}")
  for split, tally in tallies.items():
    hours, megabytes = tally.samples / rate_hz / 3600, 2 * tally.samples / 1e6
    print(
      f"{split:<12}{hours:>8.2f}{tally.records:>9}{len(tally.groups):>8}"
      f"{megabytes:>10.1f}"
    )
  dropped = sum(tally.dropped for tally in tallies.values())
  if dropped:
    samples = sum(tally.dropped_samples for tally in tallies.values())
    print(
      f"dropped {dropped} ends of groups shorter than "
      f"{records.SHORTEST_SECONDS} s: {samples / rate_hz:.1f} s in all."
    )
  empty = [split for split, tally in tallies.items() if not tally.records]
  if empty:
    print(
      f"warning: no group fell into {' or '.join(empty)}; training works, but "
      "nothing is held out there to measure on. For more groups use "
      "--group_by=file or --group_by=depth:N, or change --split.",
      file=sys.stderr,
    )
  size = sum(file.stat().st_size for file in pathlib.Path(values.out).iterdir())
  print(
    f"{values.out} is ready, {size / 1e6:.1f} MB on disk: "
    f"--config.data.sources={values.out}"
  )


def _parse(argv: Sequence[str]) -> flags.FlagValues:
  values = define_flags()
  try:
    positional = values(list(argv))
  except flags.Error as error:
    raise errors.InputError(str(error)) from None
  if len(positional) > 1:
    raise errors.InputError(
      f"unexpected argument {positional[1]!r}; options are written "
      "--name=value."
    )
  return values


if __name__ == "__main__":
  sys.exit(errors.run(main, sys.argv))
