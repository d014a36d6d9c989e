"""Configuration of a run: frozen dataclasses with every default.

Outside (preset files, overrides, sweeps) a configuration is a ConfigDict;
inside it is a frozen `Config`, so a misspelt key fails at once and nothing
changes underneath the code. Defaults live here and in settings/sections/, and
nowhere else; settings/ also has the rules for values, the --config flags and
the resume rule.

Where the paper is silent (optimizer, learning rate, batch, crop length,
commitment weight, normalisation, k-means iterations) the value is ours and its
comment says so.
"""

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

import ml_collections

from soundstream_jax import errors, rates
from soundstream_jax.settings import (
  constraints,
  fields,
  presets,
  resume,
  sweeps,
)
from soundstream_jax.settings.sections import job, learning, networks, sound

# Commands, preset files and sweeps reach these through `config`.
load = presets.load
override = presets.override
parse_flags = presets.parse_flags
preset_files = presets.preset_files
load_sweep = sweeps.load
sweep_files = sweeps.files
parse_sources = constraints.parse_sources
crowded_windows = constraints.crowded_windows
parse_profile_steps = constraints.parse_profile_steps
get = fields.get
walk = fields.walk
MAY_CHANGE_ON_RESUME = resume.MAY_CHANGE

# Sections, which are fields of Config.
Audio = sound.Audio
Mixture = sound.Mixture
Data = sound.Data
Model = networks.Model
Quantizer = networks.Quantizer
Discriminator = networks.Discriminator
Loss = learning.Loss
Optimizer = learning.Optimizer
Mesh = job.Mesh
Logging = job.Logging
Evaluation = job.Evaluation
Checkpoint = job.Checkpoint


@dataclasses.dataclass(frozen=True)
class Config:
  num_steps: int = 600_000
  batch_size: int = 64  # examples per step over all devices
  # Microbatches in which a step computes its batch, one after the other: memory
  # for one, one update of everything.
  microbatches: int = 1
  # Computes activations again in the backward pass instead of keeping them:
  # less memory, more computation, the same gradients.
  rematerialise: bool = False
  # The method that computes convolutions, all giving one function: 'plain' as
  # written, 'blocks' (fast on CPU), 'rows' (on a CPU with AVX-512), 'lanes' (on
  # TPU), 'gpu', or 'auto', by device. Name it where the CPUs of one job differ.
  form: str = "auto"
  # What convolutions compute in while training, those of the discriminators too:
  # 'float32', 'bfloat16', or '' for that of the codec, model.compute_dtype. All
  # that is kept is float32 either way, so it may change when a run is resumed.
  # What float32 is on a GPU or a TPU: precision.py.
  train_dtype: str = ""
  seed: int = 0
  # A workdir, or a folder of `soundstream export`: what fits of its newest
  # parameters, codebooks and discriminators starts this run.
  init_from: str = ""
  # Steps in a row with a NaN or infinity after which training rolls back.
  max_bad_steps: int = 20
  # How often such a run returns to a checkpoint and continues on other data.
  max_rollbacks: int = 3
  # Persistent compilation cache: 'auto' (user cache), a folder, or '' (off).
  compilation_cache: str = "auto"
  # 'FIRST:LAST' writes a trace of these steps under WORKDIR/profile.
  profile_steps: str = ""
  # Ends the job with exit code 77, on which launchers restart it, when a step
  # or the data stand still; the log names the slowest host either way.
  watchdog_abort: bool = False
  audio: Audio = Audio()
  model: Model = Model()
  quantizer: Quantizer = Quantizer()
  discriminator: Discriminator = Discriminator()
  loss: Loss = Loss()
  optimizer: Optimizer = Optimizer()
  data: Data = Data()
  mesh: Mesh = Mesh()
  logging: Logging = Logging()
  evaluation: Evaluation = Evaluation()
  checkpoint: Checkpoint = Checkpoint()

  @property
  def dtype_in_training(self) -> str:
    """What convolutions compute in while training."""
    return self.train_dtype or self.model.compute_dtype

  @property
  def rates(self) -> rates.Rates:
    return rates.Rates(
      sample_rate_hz=self.audio.sample_rate_hz,
      strides=self.model.strides,
      num_quantizers=self.quantizer.num_quantizers,
      codebook_size=self.quantizer.codebook_size,
    )


def default() -> ml_collections.ConfigDict:
  """Returns every field with its default, as a ConfigDict to edit."""
  values = ml_collections.ConfigDict(dataclasses.asdict(Config()))
  for name in fields.ONE_OR_SEVERAL:
    group, _, field = name.rpartition(".")
    # Else a preset could not assign the other form.
    one = ml_collections.FieldReference(values[group][field], field_type=object)
    del values[group][field]
    values[group][field] = one
  return values


def to_dict(config: Config) -> dict[str, Any]:
  """Returns nested dicts of plain JSON values."""
  # Through JSON, whose tuples are lists: saved and loaded compare equal.
  return json.loads(json.dumps(dataclasses.asdict(config)))


def from_dict(values: Mapping[str, Any]) -> Config:
  """Builds and checks a Config from nested mappings (ConfigDict, JSON).

  Raises:
    InputError: an unknown field, a wrong type, or a value that
      `constraints.check` refuses.
  """
  if isinstance(values, ml_collections.ConfigDict):
    values = values.to_dict()
  config = fields.build(Config, constraints.without_dropped_form(values))
  constraints.check(config)
  return config


def from_flags(
  saved: Mapping[str, Any] | None = None, given: presets.Given | None = None
) -> Config:
  """Returns the Config that the --config flags describe.

  Args:
    saved: the configuration of the workdir, used where --config is left out.
    given: the flags; default those of this process.

  Raises:
    InputError: neither --config nor a saved configuration, or a bad override.
  """
  given = presets.given() if given is None else given
  if given.name is not None:
    chosen = load(given.name)
  elif saved is not None:
    chosen = ml_collections.ConfigDict(dataclasses.asdict(from_dict(saved)))
  else:
    raise errors.InputError(
      "--config is missing and the workdir holds no run to resume. "
      f"Use one of: {', '.join(preset_files())}."
    )
  for key, text in given.overrides:
    override(chosen, key, text)
  return from_dict(chosen)


def check_resume(workdir: Any, saved: Config, now: Config) -> None:
  """Refuses to go on with a run under another configuration.

  Raises:
    InputError: with every field that must not differ, and did.
  """
  differences = resume_differences(saved, now)
  if differences:
    raise errors.InputError(
      f"{workdir} holds a run with another configuration: "
      f"{'; '.join(differences)}. Undo these overrides, or use a new "
      "--workdir (--config.init_from takes over its weights)."
    )


def resume_differences(saved: Config, now: Config) -> list[str]:
  """Returns 'field: saved -> now' of what must not differ; `resume` says what."""
  return resume.differences(to_dict(saved), to_dict(now))
