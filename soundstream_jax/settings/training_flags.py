"""Flags of `python -m soundstream_jax.train`, beside those of --config.

A launcher reads them too, into values of its own, before anything is queued.
"""

from absl import flags

from soundstream_jax.settings import path_flags

# Seconds without a sign of life after which a process counts as dead, and all
# others are aborted.
HEARTBEAT_SECONDS = 100

# That processes have to find each other.
JOIN_SECONDS = 300

# What a process is told of its job; where there is a launcher, by it.
OF_A_PROCESS = ("coordinator", "num_processes", "process_id")

# --help lists them as those of the command that calls `define`.
flags.disclaim_key_flags()


def define(values: flags.FlagValues = flags.FLAGS) -> flags.FlagValues:
  """Defines training's flags in `values`; returns it."""
  text = {"flag_values": values}
  path_flags.define(
    "workdir",
    None,
    "Where checkpoints, logs and the configuration go.",
    **text,
  )
  flags.DEFINE_string(
    "config",
    None,
    "Preset name or path to a .py file; --config.a.b=value overrides a field. "
    "May be left out when the workdir holds a run.",
    **text,
  )
  flags.DEFINE_string(
    "coordinator",
    None,
    "HOST:PORT of process 0, where the cluster does not say it.",
    **text,
  )
  flags.DEFINE_integer(
    "num_processes", None, "Of the whole job, likewise.", **text
  )
  flags.DEFINE_integer(
    "process_id", None, "Of this process, from 0, likewise.", **text
  )
  flags.DEFINE_integer(
    "heartbeat_seconds",
    HEARTBEAT_SECONDS,
    "A process that is silent for so long is dead, and the job ends.",
    lower_bound=1,
    **text,
  )
  flags.DEFINE_integer(
    "join_seconds",
    JOIN_SECONDS,
    "How long the processes of a job look for each other.",
    lower_bound=1,
    **text,
  )
  flags.DEFINE_bool(
    "take_over",
    False,
    "Take the workdir from another job that writes there; that one ends.",
    **text,
  )
  return values
