"""Configuration of a run: frozen dataclasses with every default.

Outside (preset files, overrides, sweeps) a configuration is a ConfigDict;
inside it is a frozen `Config`, so a misspelt key fails at once and nothing
changes underneath the code. Defaults live here and nowhere else;
settings/ has the rules for values, the --config flags and the resume rule.

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

# Commands, preset files and sweeps reach these through `config`.
load = presets.load
override = presets.override
parse_flags = presets.parse_flags
preset_files = presets.preset_files
load_sweep = sweeps.load
sweep_files = sweeps.files
parse_sources = constraints.parse_sources
parse_profile_steps = constraints.parse_profile_steps
get = fields.get
walk = fields.walk
MAY_CHANGE_ON_RESUME = resume.MAY_CHANGE


@dataclasses.dataclass(frozen=True)
class Audio:
  sample_rate_hz: int = 24_000


@dataclasses.dataclass(frozen=True)
class Model:
  """Paper section III-A and III-B, Fig. 3."""

  # 'learned', or 'mel': fixed features, nothing learned (model/mel_encoder.py).
  encoder: str = "learned"
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
  # Batches whose frames k-means sees. The paper takes one; with none codebooks
  # start at random.
  kmeans_batches: int = 1
  # A code is dead below this share of uniform use. The paper's absolute 2
  # depends on the batch size and kills small batches. 0 turns revival off.
  revival_threshold: float = 0.1
  # Random frames per layer and step that dead codes can be replaced by.
  revival_candidates: int = 64


@dataclasses.dataclass(frozen=True)
class Discriminator:
  """Paper section III-D; layer table of MelGAN for the wave scales."""

  wave_scales: int = 3  # 0: no wave networks
  wave_channels: int = 16
  wave_max_channels: int = 1024
  # Normalisations are ours: the paper names none.
  wave_norm: str = "weight"  # 'weight' or 'none'
  stft_channels: int = 32  # 0: no STFT network
  stft_window: int = 1024
  stft_hop: int = 256
  stft_norm: str = "layer"  # 'layer', 'weight' or 'none'
  # Until this step the generator trains on reconstruction alone. Ours.
  start_step: int = 0

  @property
  def exists(self) -> bool:
    """Whether there is any; without, losses of them do not exist either."""
    return self.wave_scales > 0 or self.stft_channels > 0


@dataclasses.dataclass(frozen=True)
class Loss:
  """Paper section III-E, equations 1 to 7; commitment and waveform are ours."""

  adversarial_weight: float = 1.0
  feature_weight: float = 100.0
  reconstruction_weight: float = 1.0
  waveform_weight: float = 0.0  # of losses/waveform.py; ours
  commitment_weight: float = 1.0
  # The weights, but commitment's, are then shares of the gradient at the audio
  # (losses/balancer.py): the paper's 1, 100 and 1 would leave 98 % to features.
  balancer: bool = False
  # Of an example's gradient, in all; the spectral loss alone has about this on
  # speech, so that commitment's weight means what it means without.
  balancer_norm: float = 50.0
  balancer_decay: float = 0.999  # of the moving averages of norms
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
  # Of generator parameters: min(d, (1+t)/(10+t)); 0 turns averaging off.
  ema_decay: float = 0.999


@dataclasses.dataclass(frozen=True)
class Mixture:
  """Shares of the kinds of example (paper sections IV-A and III-F).

  Any positive numbers; `data/examples.py` makes what they name. With all of
  them 0, examples are crops of data.sources as they are.
  """

  speech: float = 0.0
  noisy_speech: float = 0.0
  reverberant_speech: float = 0.0
  noisy_reverberant_speech: float = 0.0
  music: float = 0.0
  noise: float = 0.0


@dataclasses.dataclass(frozen=True)
class Data:
  # Prepared datasets, each 'DIR' or 'DIR:weight,DIR:weight'. `sources` is any
  # audio; a mixture draws from the others.
  sources: str = ""
  speech: str = ""
  music: str = ""
  noise: str = ""
  rooms: str = ""  # impulse responses
  mixture: Mixture = Mixture()
  # Gain of noise on speech, both with peaks of 1, uniform in dB within these.
  noise_gain_db: tuple[float, float] = (-30.0, 0.0)
  # Share of examples of speech and music for which FiLM's flag is on: their
  # target is then without the noise. Ours.
  denoise_share: float = 0.5
  # Share of crops, of noise too, that a random filter colours. Ours.
  filter_share: float = 0.0
  # Records of a lower bandwidth are left out; 0 takes all. Ours.
  min_bandwidth_hz: float = 0.0
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
  # written, 'blocks' (fast on CPU and GPU), 'rows' (on a CPU with AVX-512),
  # 'lanes' (on TPU), or 'auto', by device. Name it where the CPUs of one job
  # differ.
  form: str = "auto"
  seed: int = 0
  # A workdir whose newest parameters and codebooks start this run.
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
  def rates(self) -> rates.Rates:
    return rates.Rates(
      sample_rate_hz=self.audio.sample_rate_hz,
      strides=self.model.strides,
      num_quantizers=self.quantizer.num_quantizers,
      codebook_size=self.quantizer.codebook_size,
    )


def default() -> ml_collections.ConfigDict:
  """Returns every field with its default, as a ConfigDict to edit."""
  return ml_collections.ConfigDict(dataclasses.asdict(Config()))


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
