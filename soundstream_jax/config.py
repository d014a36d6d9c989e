"""What a run is: frozen dataclasses, their defaults, checks and flags.

Outside (preset files, overrides, sweeps) a configuration is a ConfigDict;
inside it is a frozen `Config`, so a misspelt key fails at once and nothing
changes underneath the code. Defaults live here and nowhere else.

Where the paper is silent (optimizer, learning rate, batch, crop length,
commitment weight, normalisation, k-means iterations) the value is ours and its
comment says so.
"""

import ast
import dataclasses
import importlib.util
import os
import pathlib
import re
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import ml_collections
from absl import flags

from soundstream_jax import errors, rates


@dataclasses.dataclass(frozen=True)
class Audio:
  sample_rate_hz: int = 24_000


@dataclasses.dataclass(frozen=True)
class Model:
  """Paper section III-A and III-B, Fig. 3."""

  encoder_channels: int = 32
  decoder_channels: int = 32
  strides: tuple[int, ...] = (2, 4, 5, 8)
  # D. The paper gives no value; 256 is the one that Table I's counts allow.
  embedding_dim: int = 256
  # Residual unit. B, the default: kernel 7, hidden ratio 0.5 (Fig. 3's
  # kernels). A: kernel 3, ratio 1.0. Both give Table I's parameter counts.
  residual_kernel: int = 7
  residual_hidden_ratio: float = 0.5
  # FiLM at the bottleneck: 'none', 'encoder' or 'decoder'.
  film: str = "none"
  # Convolutions only; parameters, codebooks, distances, losses stay float32.
  compute_dtype: str = "float32"


@dataclasses.dataclass(frozen=True)
class Quantizer:
  """Paper section III-C."""

  num_quantizers: int = 24
  codebook_size: int = 1024
  dropout: bool = True
  ema_decay: float = 0.99
  kmeans_iterations: int = 20  # ours
  # Batches whose frames k-means sees. The paper takes one.
  kmeans_batches: int = 1
  # A code is dead below this share of uniform use. The paper's absolute 2
  # depends on the batch size and kills small batches.
  revival_threshold: float = 0.1
  # Random frames per layer and step that dead codes can be replaced by.
  revival_candidates: int = 64


@dataclasses.dataclass(frozen=True)
class Discriminator:
  """Paper section III-D; layer table of MelGAN for the wave scales."""

  wave_scales: int = 3
  wave_channels: int = 16
  wave_max_channels: int = 1024
  # Normalisations are ours: the paper names none.
  wave_norm: str = "weight"  # 'weight' or 'none'
  stft_channels: int = 32
  stft_window: int = 1024
  stft_hop: int = 256
  stft_norm: str = "layer"  # 'layer', 'weight' or 'none'
  # Until this step the generator trains on reconstruction alone. Ours.
  start_step: int = 0


@dataclasses.dataclass(frozen=True)
class Loss:
  """Paper section III-E, equations 1 to 7; the commitment term is ours."""

  adversarial_weight: float = 1.0
  feature_weight: float = 100.0
  reconstruction_weight: float = 1.0
  commitment_weight: float = 1.0
  spectral_windows: tuple[int, ...] = (64, 128, 256, 512, 1024, 2048)
  mel_bins: int = 64


@dataclasses.dataclass(frozen=True)
class Optimizer:
  """Adam, twice. Every value is ours: the paper gives none."""

  learning_rate: float = 3e-4
  discriminator_learning_rate: float = 3e-4
  beta1: float = 0.5
  beta2: float = 0.9
  warmup_steps: int = 1_000
  # Learning rate is multiplied by this at every step after the warm-up.
  decay_per_step: float = 0.999996
  clip_norm: float = 10.0  # global gradient norm; 0 turns clipping off
  ema_decay: float = 0.999  # of generator parameters: min(d, (1+t)/(10+t))


@dataclasses.dataclass(frozen=True)
class Data:
  # 'DIR' or 'DIR:weight,DIR:weight', each a prepared dataset.
  sources: str = ""
  crop_samples: int = 24_000
  # Random gain, uniform in dB within these bounds.
  gain_db: tuple[float, float] = (-12.0, 3.0)
  # Worker processes; 0 reads in threads of this process.
  num_workers: int = 0
  num_threads: int = 4
  prefetch_batches: int = 8


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
  """What training measures on held-out records while it runs."""

  every_steps: int = 1_000
  at_steps: tuple[int, ...] = (10,)
  num_clips: int = 8
  clip_samples: int = 48_000
  split: str = "validation"


@dataclasses.dataclass(frozen=True)
class Checkpoint:
  every_steps: int = 1_000
  keep: int = 3
  # Every checkpoint at a multiple of this is kept for ever; 0 keeps none.
  keep_every_steps: int = 0


@dataclasses.dataclass(frozen=True)
class Config:
  num_steps: int = 600_000
  batch_size: int = 64  # examples per step over all devices
  seed: int = 0
  # A workdir whose newest parameters and codebooks start this run.
  init_from: str = ""
  # Steps in a row with a NaN or infinity after which training stops.
  max_bad_steps: int = 20
  # Persistent compilation cache: 'auto' (user cache), a folder, or '' (off).
  compilation_cache: str = "auto"
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
  def rates(self) -> rates.Rates:
    return rates.Rates(
      sample_rate_hz=self.audio.sample_rate_hz,
      strides=self.model.strides,
      num_quantizers=self.quantizer.num_quantizers,
      codebook_size=self.quantizer.codebook_size,
    )


# Fields that may differ when a workdir is resumed: everything else decides
# what is learnt, and a difference there stops the run. `data.sources` may point
# elsewhere as long as the weights stay (see `resume_differences`).
MAY_CHANGE_ON_RESUME = (
  "num_steps",
  "compilation_cache",
  "max_bad_steps",
  "init_from",
  "mesh.*",
  "logging.*",
  "evaluation.*",
  "checkpoint.*",
  "data.num_workers",
  "data.num_threads",
  "data.prefetch_batches",
)


def default() -> ml_collections.ConfigDict:
  """Returns every field with its default, as a ConfigDict to edit."""
  return ml_collections.ConfigDict(dataclasses.asdict(Config()))


def to_dict(config: Config) -> dict[str, Any]:
  """Returns nested dicts of plain JSON values."""
  return _plain(dataclasses.asdict(config))


def from_dict(values: Mapping[str, Any]) -> Config:
  """Builds and checks a Config from nested mappings (ConfigDict, JSON).

  Raises:
    InputError: an unknown field, a wrong type, or a value that `check` refuses.
  """
  if isinstance(values, ml_collections.ConfigDict):
    values = values.to_dict()
  config = _build(Config, values, "")
  check(config)
  return config


def load(name: str) -> ml_collections.ConfigDict:
  """Returns the ConfigDict of a shipped preset name or of a Python file.

  A shipped name ("tiny") is the installed configs/NAME.py; anything that ends
  in .py or contains a path separator is a file. Either defines `get_config()`.

  Raises:
    InputError: no such preset or file, with the nearest name.
  """
  if name.endswith(".py") or os.sep in name:
    path = pathlib.Path(name)
    if not path.is_file():
      raise errors.InputError(f"--config={name}: there is no such file.")
  else:
    presets = preset_files()
    if name not in presets:
      raise errors.InputError(
        f"--config={name} is not a preset.{errors.nearest(name, presets)} "
        f"Presets: {', '.join(sorted(presets))}; or give a path to a .py file."
      )
    path = presets[name]
  spec = importlib.util.spec_from_file_location("soundstream_preset", path)
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  if not hasattr(module, "get_config"):
    raise errors.InputError(
      f"--config={name}: the file defines no get_config() -> ConfigDict."
    )
  return module.get_config()


def preset_files() -> dict[str, pathlib.Path]:
  """Returns the shipped presets: name -> file."""
  spec = importlib.util.find_spec("soundstream_jax.configs")
  folder = pathlib.Path(spec.origin).parent
  return {
    path.stem: path
    for path in sorted(folder.glob("*.py"))
    if not path.stem.startswith("_")
  }


def override(config: ml_collections.ConfigDict, key: str, text: str) -> None:
  """Sets config.key from the text of a flag, converted to the field's type.

  Raises:
    InputError: unknown key (with the nearest one) or text of another type.
  """
  flat = _flatten(config)
  if key not in flat:
    raise errors.InputError(
      f"--config.{key}: there is no such field.{errors.nearest(key, flat)}"
    )
  try:
    value = _parse(text, flat[key])
  except (ValueError, SyntaxError):
    kind = type(flat[key]).__name__
    raise errors.InputError(
      f"--config.{key}={text} is not a {kind}; the present value is "
      f"{flat[key]!r}."
    ) from None
  with config.ignore_type():
    config.update_from_flattened_dict({key: value})


def parse_flags(argv: Sequence[str]) -> list[str]:
  """Parses absl flags; `--config*` flags end up in `overrides()`.

  For `app.run(main, flags_parser=config.parse_flags)`. A flag error is one
  line and exit code 2, with the nearest flag's name.
  """
  rest, _PARSED.name, _PARSED.overrides = [argv[0]], None, []
  arguments = list(argv[1:])
  while arguments:
    argument = arguments.pop(0)
    match = re.fullmatch(r"--?config((?:\.\w+)*)(?:=(.*))?", argument, re.S)
    if match is None:
      rest.append(argument)
      continue
    key, text = match.groups()
    if text is None:
      if not arguments:
        sys.exit(errors.report(errors.InputError(f"{argument} has no value.")))
      text = arguments.pop(0)
    if key:
      _PARSED.overrides.append((key[1:], text))
    else:
      _PARSED.name = text
  try:
    positional = flags.FLAGS(rest)
  except flags.Error as error:
    sys.exit(errors.report(errors.InputError(str(error))))
  if len(positional) > 1:
    sys.exit(
      errors.report(
        errors.InputError(
          f"unexpected argument {positional[1]!r}; options are written "
          "--name=value."
        )
      )
    )
  return positional


def from_flags(saved: Mapping[str, Any] | None = None) -> Config:
  """Returns the Config that the flags of this process describe.

  Args:
    saved: the configuration of the workdir, used where --config is left out.

  Raises:
    InputError: neither --config nor a saved configuration, or a bad override.
  """
  if _PARSED.name is not None:
    chosen = load(_PARSED.name)
  elif saved is not None:
    chosen = ml_collections.ConfigDict(to_dict(from_dict(saved)))
    chosen = _tuples_like(chosen, default())
  else:
    raise errors.InputError(
      "--config is missing and the workdir holds no run to resume. "
      f"Use one of: {', '.join(sorted(preset_files()))}."
    )
  for key, text in _PARSED.overrides:
    override(chosen, key, text)
  return from_dict(chosen)


def resume_differences(saved: Config, now: Config) -> list[str]:
  """Returns 'field: saved -> now' for every field that must not have changed.

  `MAY_CHANGE_ON_RESUME` lists the rest. Paths in `data.sources` may change;
  their number and weights may not.
  """
  before, after = _flatten(to_dict(saved)), _flatten(to_dict(now))
  for flat in (before, after):
    flat["data.sources"] = [
      weight for _, weight in parse_sources(flat["data.sources"])
    ]
  return [
    f"{key}: {before[key]} -> {after[key]}"
    for key in before
    if before[key] != after[key]
    and not any(
      key == free or (free.endswith(".*") and key.startswith(free[:-1]))
      for free in MAY_CHANGE_ON_RESUME
    )
  ]


def parse_sources(text: str) -> list[tuple[str, float]]:
  """Splits 'DIR:weight,DIR' into (folder, weight); a missing weight is 1.

  Raises:
    InputError: an empty folder or a weight that is not a positive number.
  """
  sources = []
  for item in filter(None, (part.strip() for part in text.split(","))):
    folder, colon, weight = item.rpartition(":")
    if not colon or "/" in weight:
      folder, weight = item, "1"
    try:
      number = float(weight)
    except ValueError:
      number = -1.0
    if not folder or not 0 < number < float("inf"):
      raise errors.InputError(
        f"data.sources has {item!r}; write DIR:weight with a weight above 0, "
        "for example speech:0.7,music:0.3."
      )
    sources.append((folder, number))
  return sources


def check(config: Config) -> None:
  """Refuses values that cannot work together.

  Raises:
    InputError: names the field, the value, the rule and the fix.
  """
  hop = config.rates.hop_samples
  _at_least(config, "audio.sample_rate_hz", 1)
  for name in (
    "num_steps",
    "batch_size",
    "max_bad_steps",
    "model.encoder_channels",
    "model.decoder_channels",
    "model.embedding_dim",
    "model.residual_kernel",
    "quantizer.num_quantizers",
    "quantizer.kmeans_batches",
    "quantizer.revival_candidates",
    "discriminator.wave_scales",
    "loss.mel_bins",
    "data.crop_samples",
    "data.num_threads",
    "data.prefetch_batches",
    "logging.every_steps",
    "evaluation.every_steps",
    "evaluation.num_clips",
    "evaluation.clip_samples",
    "checkpoint.every_steps",
    "checkpoint.keep",
    "mesh.fsdp",
  ):
    _at_least(config, name, 1)
  for name in ("data.crop_samples", "evaluation.clip_samples"):
    samples = get(config, name)
    if samples % hop:
      raise errors.InputError(
        f"{name}={samples} is not a multiple of the hop {hop}, the product of "
        f"model.strides={config.model.strides}. Use {max(1, samples // hop) * hop}."
      )
  widest = max(config.loss.spectral_windows)
  if config.data.crop_samples < max(widest, config.discriminator.stft_window):
    raise errors.InputError(
      f"data.crop_samples={config.data.crop_samples} is shorter than the "
      f"longest analysis window of {widest} samples. Use a longer crop."
    )
  _one_of(config, "model.film", ("none", "encoder", "decoder"))
  _one_of(config, "model.compute_dtype", ("float32", "bfloat16", "float64"))
  _one_of(config, "discriminator.wave_norm", ("weight", "none"))
  _one_of(config, "discriminator.stft_norm", ("layer", "weight", "none"))
  if config.discriminator.wave_channels % 4:
    raise errors.InputError(
      f"discriminator.wave_channels={config.discriminator.wave_channels} is "
      "not a multiple of 4, the inputs per group. Use 4, 8 or 16."
    )
  window = config.discriminator.stft_window
  if window & (window - 1) or window < 128:
    raise errors.InputError(
      f"discriminator.stft_window={window} must be a power of two of at least "
      "128; six stages divide its half by 64."
    )
  low, high = config.data.gain_db
  if low > high:
    raise errors.InputError(
      f"data.gain_db={config.data.gain_db} has its bounds in the wrong order."
    )
  for name in ("quantizer.ema_decay", "optimizer.ema_decay"):
    if not 0 <= get(config, name) < 1:
      raise errors.InputError(
        f"{name}={get(config, name)} must be in [0, 1), for example 0.99."
      )
  parse_sources(config.data.sources)


def get(config: Config, name: str) -> Any:
  """Returns the field at a dotted name."""
  value = config
  for part in name.split("."):
    value = getattr(value, part)
  return value


@dataclasses.dataclass
class _Parsed:
  """The --config flags of this process; absl keeps its own the same way."""

  name: str | None = None
  overrides: list[tuple[str, str]] = dataclasses.field(default_factory=list)


_PARSED = _Parsed()


def _at_least(config: Config, name: str, least: int) -> None:
  if get(config, name) < least:
    raise errors.InputError(
      f"{name}={get(config, name)} must be at least {least}."
    )


def _one_of(config: Config, name: str, choices: Sequence[str]) -> None:
  value = get(config, name)
  if value not in choices:
    raise errors.InputError(
      f"{name}={value!r} is none of {', '.join(choices)}."
      f"{errors.nearest(value, choices)}"
    )


def _build(kind: type, values: Mapping[str, Any], prefix: str):
  """Builds one dataclass, field by field, refusing what does not fit."""
  fields = {field.name: field for field in dataclasses.fields(kind)}
  for name in values:
    if name not in fields:
      raise errors.InputError(
        f"config has no field {prefix}{name}.{errors.nearest(name, fields)}"
      )
  built = {}
  for name, value in values.items():
    preset = fields[name].default
    if dataclasses.is_dataclass(preset):
      built[name] = _build(type(preset), value, f"{prefix}{name}.")
    else:
      built[name] = _typed(value, preset, f"{prefix}{name}")
  return kind(**built)


def _typed(value: Any, preset: Any, name: str) -> Any:
  """Returns value in the type of the default, or raises InputError."""
  wanted = type(preset)
  if wanted is tuple and isinstance(value, list | tuple):
    return tuple(value)
  if wanted is float and type(value) is int:
    return float(value)
  if type(value) is not wanted:
    raise errors.InputError(
      f"{name}={value!r} is a {type(value).__name__}, not a {wanted.__name__}."
    )
  return value


def _parse(text: str, present: Any) -> Any:
  """Reads the text of a flag as the type of the present value."""
  if isinstance(present, str):
    return text
  if isinstance(present, bool):
    return {"true": True, "false": False, "1": True, "0": False}[
      text.lower()
    ] if text.lower() in ("true", "false", "1", "0") else _refuse(text)
  if isinstance(present, int):
    return int(text)
  if isinstance(present, float):
    return float(text)
  value = ast.literal_eval(text)
  if not isinstance(value, list | tuple):
    _refuse(text)
  if present and not all(isinstance(v, int | float) for v in value):
    _refuse(text)
  return tuple(value)


def _refuse(text: str):
  raise ValueError(text)


def _flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
  flat = {}
  for name, value in values.items():
    if isinstance(value, dict | ml_collections.ConfigDict):
      flat |= _flatten(value, f"{prefix}{name}.")
    else:
      flat[f"{prefix}{name}"] = value
  return flat


def _plain(value: Any) -> Any:
  """Tuples become lists, so that a saved and a loaded config compare equal."""
  if isinstance(value, dict):
    return {name: _plain(item) for name, item in value.items()}
  if isinstance(value, tuple):
    return list(value)
  return value


def _tuples_like(chosen, model):
  """Turns JSON's lists back into tuples where the model has tuples."""
  for name, value in model.items():
    if isinstance(value, ml_collections.ConfigDict):
      _tuples_like(chosen[name], value)
    elif isinstance(value, tuple):
      with chosen.ignore_type():
        chosen[name] = tuple(chosen[name])
  return chosen
