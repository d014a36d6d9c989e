"""Prepares a dataset on a Beam engine, with the same files as `prepare`.

  python -m soundstream_jax.data_pipelines.beam \\
    --dataset=libritts --input=DIR --out=DIR -- --runner=DirectRunner

What stands before `--` is what `prepare` takes; what follows it goes to Beam.
This process plans, waits and finishes; the engine's workers build shards. They
must see --input and the folder of --out under the same paths, as on a shared
file system, and have this package installed. The same command resumes after a
kill, and so does `prepare` with the same flags.
"""

import functools
import sys
from collections.abc import Sequence

from soundstream_jax import endings

if __name__ == "__main__":  # before what takes seconds to import
  endings.obey()

from soundstream_jax import errors
from soundstream_jax.data_pipelines import prepare
from soundstream_jax.data_pipelines.preparation import interrupts, job, shards

_INTERRUPTED = 130


def main(argv: Sequence[str]) -> int:
  """Runs the command; argv[0] is its name.

  Raises:
    InputError: Beam is not installed, or as `prepare.main`.
  """
  values, options = prepare.parse(argv)
  if values.help:
    print(f"{__doc__}\n{values.get_help()}")
    return 0
  prepare.check_dataset(values)
  try:
    import apache_beam
    from apache_beam.options import pipeline_options
  except ImportError:
    raise errors.InputError(
      "apache_beam is not installed. Use: pip install 'soundstream_jax[beam]', "
      "or soundstream_jax.data_pipelines.prepare, which needs none."
    ) from None
  try:
    with (
      interrupts.Interrupts() as watcher,
      job.begin(values, check=watcher.check) as work,
    ):
      with apache_beam.Pipeline(
        options=pipeline_options.PipelineOptions(options)
      ) as pipeline:
        _ = (
          pipeline
          | "Numbers" >> apache_beam.Create(work.missing, reshuffle=False)
          | "Spread" >> apache_beam.Reshuffle()
          | "Build"
          >> apache_beam.Map(
            functools.partial(shards.build_in, str(work.folder))
          )
        )
      prepare.complete(work, values.out)
  except KeyboardInterrupt:
    return _INTERRUPTED
  return 0


if __name__ == "__main__":
  sys.exit(errors.run(main, sys.argv))
