"""What a run is asked to measure, and of which model: shared with the workers."""

import dataclasses
import json
from typing import Any

from soundstream_jax import config as config_lib
from soundstream_jax.convolution import methods
from soundstream_jax.settings import presets

# Of the whole step unless an item says otherwise; what training takes on GPUs.
DTYPE = "bfloat16"


@dataclasses.dataclass(frozen=True)
class Conditions:
  """Plain values, which go to the workers as JSON.

  Attributes:
    device: 'cuda' or 'cpu', PyTorch's names.
    preset: of the model.
    batch: clips of a second.
    layers: of the quantizer; 0 is the preset's own number.
    form: of config.form, the method that comes first.
    steps: to time.
    overrides: of the preset, name -> value.
    cache: folder of compiled programs, of autotuning results and of traces.
    torch_python: the interpreter that has PyTorch.
  """

  device: str
  preset: str
  batch: int
  layers: int
  form: str
  steps: int
  overrides: dict[str, Any]
  cache: str
  torch_python: str

  @property
  def platform(self) -> str:
    """jax's name of the device."""
    return {"cuda": "gpu", "cpu": "cpu"}[self.device]

  def of(self) -> dict[str, Any]:
    """Returns what a result stands and falls with."""
    names = ("device", "preset", "batch", "layers", "overrides")
    return {name: getattr(self, name) for name in names}

  def flattened(
    self, *, batch: int = 0, dtype: str = DTYPE, **fields
  ) -> dict[str, Any]:
    """Returns the fields that differ from the preset's, name -> value.

    Args:
      batch: clips of a second; 0 is `batch` of these conditions.
      dtype: of the convolutions.
      **fields: of the configuration's top level.
    """
    preset = presets.load(self.preset)
    changed = {
      "batch_size": batch or self.batch,
      "data.crop_samples": preset.audio.sample_rate_hz,
      "quantizer.dropout": False,  # PyTorch's side has none
      "model.compute_dtype": dtype,
      "train_dtype": "",  # as the model's; PyTorch's side knows one dtype
    }
    if self.layers:
      changed["quantizer.num_quantizers"] = self.layers
    return changed | self.overrides | fields

  def config(self, **changes) -> config_lib.Config:
    """Returns the configuration; changes are those of `flattened`."""
    values = presets.load(self.preset)
    values.update_from_flattened_dict(self.flattened(**changes))
    return config_lib.from_dict(values)

  def to_json(self) -> str:
    return json.dumps(dataclasses.asdict(self))


def from_json(text: str) -> Conditions:
  """The inverse of `Conditions.to_json`."""
  return Conditions(**json.loads(text))


def preset_layers(preset: str) -> int:
  """Returns how many layers the quantizer of a preset has."""
  return presets.load(preset).quantizer.num_quantizers


def name_of(form: str, platform: str) -> str:
  """Returns the value of config.form that a method has, of 'auto' too."""
  method = methods.choose(form, platform)
  return next(name for name, one in methods.METHODS.items() if one == method)
