"""The job around the training: devices, logs, validation, checkpoints."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Mesh:
  """Devices per axis; -1 takes what is left. The batch spans both axes."""

  data: int = -1
  fsdp: int = 1


@dataclasses.dataclass(frozen=True)
class Logging:
  every_steps: int = 50
  tensorboard: bool = True


@dataclasses.dataclass(frozen=True)
class Evaluation:
  """Validation: a running training measured on held-out records."""

  every_steps: int = 1_000
  at_steps: tuple[int, ...] = (10,)
  num_clips: int = 104  # a hundred, and a multiple of eight devices
  clip_samples: int = 48_000
  split: str = "validation"


@dataclasses.dataclass(frozen=True)
class Checkpoint:
  every_steps: int = 1_000
  # Also when so many seconds have passed since the last one was begun; 0: never.
  every_seconds: float = 0.0
  keep: int = 3
  # Every checkpoint at a multiple of this is kept for ever; 0 keeps none.
  keep_every_steps: int = 0
  # A metric of metrics/, by its held-out mean: the best checkpoint is kept
  # beside the newest, as `--step=best`. '' keeps none.
  best_of: str = ""
