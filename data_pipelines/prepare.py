"""Makes a dataset that training can point at.

  python -m soundstream_jax.data_pipelines.prepare \\
    --dataset=audio_folder --input=DIR --out=DIR [--group_by=parent]
  python -m soundstream_jax.data_pipelines.prepare \\
    --dataset=libritts --input=DIR_OR_ARCHIVES --out=DIR [--workers=8]
  python -m soundstream_jax.data_pipelines.prepare \\
    --dataset=synthetic --kind=voices --minutes=4 --out=DIR

--dataset=NAME --describe says where a dataset is to be had and what its
licence asks. Then train with the flag that is printed. `--out` appears when it
is complete; after a kill, a full disk or a lost machine the same command
resumes. Files that cannot be read are skipped, those that are cut are used as
far as they go; both are listed at the end.
"""

import os
import shlex
import sys
from collections.abc import Sequence

from soundstream_jax import endings

if __name__ == "__main__":  # before what takes seconds to import
  endings.obey()

from absl import flags

from soundstream_jax import console, errors
from soundstream_jax.data_pipelines import catalog, corpus
from soundstream_jax.data_pipelines.preparation import (
  assemble,
  dataset_files,
  interrupts,
  job,
  messages,
  shards,
  workers,
)
from soundstream_jax.settings import constraints, numbers, path_flags

_INTERRUPTED = 130


def define_flags() -> flags.FlagValues:
  """Returns this command's flags, apart from those of the process."""
  values = flags.FlagValues()
  text = {"flag_values": values}
  flags.DEFINE_string(
    "dataset",
    None,
    f"Which one: {', '.join(catalog.names())}.",
    **text,
  )
  path_flags.define("out", "", "Folder to be made: the dataset.", **text)
  path_flags.define(
    "input",
    "",
    "Folder of the dataset's files or of its archives, or the archives "
    "themselves, with commas between.",
    several=True,
    **text,
  )
  flags.DEFINE_integer(
    "workers", 0, "Processes; 0: as many as there are CPUs.", 0, **text
  )
  flags.DEFINE_bool(
    "describe", False, "Says what the dataset is, and does no more.", **text
  )
  flags.DEFINE_string(
    "split",
    "90,5,5",
    "Percentages for train, validation and test, of what the dataset does not "
    "share out itself.",
    **text,
  )
  flags.DEFINE_integer(
    "sample_rate", 24_000, "Sample rate in Hz.", 1_000, 768_000, **text
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
    "kind",
    None,
    f"audio_folder: {', '.join(corpus.KINDS)} or audio, which is the default; "
    "rooms are impulse responses. synthetic: voices, instruments or noises. "
    "Datasets of several kinds: which of them.",
    **text,
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
  values, positional = parse(argv)
  if positional:
    raise errors.InputError(
      f"unexpected argument {positional[0]!r}; options are written "
      "--name=value."
    )
  if values.help:
    print(f"{__doc__}\n{values.get_help()}")
    return 0
  check_dataset(values)
  if values.describe:
    print(job.describe(values))
    return 0
  try:
    with (
      interrupts.Interrupts() as watcher,
      job.begin(values, check=watcher.check) as work,
    ):
      workers.build(
        work.folder,
        work.plan,
        work.missing,
        out=work.out,
        count=values.workers or _usable_cpus(),
        watcher=watcher,
      )
      complete(work, values.out)
  except KeyboardInterrupt:
    return _INTERRUPTED
  return 0


def parse(argv: Sequence[str]) -> tuple[flags.FlagValues, list[str]]:
  """Returns (flags, what follows them).

  Raises:
    InputError: an unknown flag, or a value that is none.
  """
  values = define_flags()
  try:
    return values, values(list(argv))[1:]
  except flags.Error as error:
    raise numbers.flag_error(error) from None


def check_dataset(values: flags.FlagValues) -> None:
  """Checks that the flags fit the dataset.

  Raises:
    InputError: an unknown dataset, or a flag that it does not read.
  """
  known = catalog.names()
  if values.dataset not in known:
    given = "is missing" if values.dataset is None else "is unknown"
    raise errors.InputError(
      f"--dataset={values.dataset or ''} {given}."
      f"{errors.nearest(values.dataset or '', known)} Use one of: "
      f"{', '.join(known)}."
    )
  for dataset in known:
    for name in catalog.flags_of(dataset):
      if values[name].present and values.dataset != dataset:
        raise errors.InputError(
          f"--{name} belongs to --dataset={dataset}, not to "
          f"--dataset={values.dataset}. Leave it out."
        )
  if values["input"].present and job.is_computed(values):
    raise errors.InputError(
      f"--input belongs to the other datasets, not to "
      f"--dataset={values.dataset}. Leave it out."
    )


def complete(work: job.Job, name: str) -> None:
  """Makes the dataset of its shards, and tells what it has come to.

  Args:
    name: the folder as the user calls it.

  Raises:
    InputError: shards are missing, or nothing is there to train on.
    DiskError: the disk cannot be written to.
  """
  results = shards.complete(work.folder, work.plan)
  if len(results) < len(work.plan.shards):
    raise errors.InputError(
      f"--out={name}: {len(work.plan.shards) - len(results)} shards were built "
      "elsewhere and are not here. Use a folder that all machines share."
    )
  skipped = [vars(s) for r in results.values() for s in r.skipped]
  messages.list_skipped(skipped, work.plan.num_files)
  damaged = [vars(d) for r in results.values() for d in r.damaged]
  messages.list_damaged(damaged, work.plan.num_files)
  with dataset_files.writing(work.out):
    tallies, sheet = assemble.assemble(
      work.folder, work.plan, out=work.out, about=work.about
    )
  messages.report(tallies, sheet, work.dataset)
  size = sum(file.stat().st_size for file in work.out.iterdir())
  name = console.shown(name)
  print(
    f"{name} is ready, {size / 1e6:.1f} MB on disk: "
    f"{_flags(work.plan.settings['kind'], name)}"
  )


def _flags(kind: str, name: str) -> str:
  """Returns what training is told of a dataset."""
  name = shlex.quote(constraints.as_source(name))
  alone = f"--config.data.sources={name}"
  mixed = f"--config.data.{kind}={name}"
  if kind == "rooms":  # nothing to be trained on by itself
    return mixed
  return f"{alone}, or {mixed} in a mixture" if kind in corpus.KINDS else alone


def _usable_cpus() -> int:
  if hasattr(os, "sched_getaffinity"):  # not on every system
    return len(os.sched_getaffinity(0))
  return os.cpu_count() or 1


if __name__ == "__main__":
  sys.exit(errors.run(main, sys.argv))
