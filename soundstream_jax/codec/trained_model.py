"""A trained model on one device: what encoding, decoding and files take."""

import dataclasses
import math
import os
from typing import Protocol

import jax
import numpy as np

from soundstream_jax import config as config_lib
from soundstream_jax import errors, paths, rates
from soundstream_jax.checkpoint import exported, fingerprint
from soundstream_jax.checkpoint import weights as weights_lib
from soundstream_jax.codec.stream import state as state_lib
from soundstream_jax.codec.stream import step as step_lib
from soundstream_jax.model import soundstream


@dataclasses.dataclass(frozen=True, eq=False)
class TrainedModel:
  """Parameters and codebooks on a device, with what names them.

  Threads may share one.
  """

  config: config_lib.Config  # of the run that made the parameters
  variables: dict  # on the device, as the network's `apply` takes them
  fingerprint: bytes  # 32 bytes that name the model
  step: int  # of the checkpoint
  weights: str  # 'ema' or 'raw', which of its parameters these are
  # What streams of one shape start from, computed when first asked for.
  _prepared: dict[tuple, tuple[state_lib.Variables, state_lib.State]] = (
    dataclasses.field(default_factory=dict, init=False, repr=False)
  )

  @property
  def model(self) -> "TrainedModel":
    """Itself, as `Codec.model` is: streams take either."""
    return self

  @property
  def rates(self) -> rates.Rates:
    return self.config.rates

  @property
  def device(self) -> jax.Device:
    """Where the parameters are."""
    (device,) = soundstream.vectors(self.variables).devices()
    return device

  def on(self, device: jax.Device) -> "TrainedModel":
    """Returns the same model on another device."""
    place = jax.sharding.SingleDeviceSharding(device)
    return dataclasses.replace(
      self, variables=jax.device_put(self.variables, place)
    )

  def layers_for(self, bitrate_bps: float | None) -> int:
    """Returns the number of layers of exactly this bitrate; of None, all.

    Raises:
      InputError: the model does not have it; the message lists those it has.
    """
    if bitrate_bps is None:
      return self.rates.num_quantizers
    if not math.isfinite(bitrate_bps):
      raise errors.InputError(f"bitrate={bitrate_bps} must be finite.")
    return self.rates.quantizers_for(bitrate_bps)

  def check_denoise(self, denoise: bool, side: str) -> None:
    """Refuses denoising on a side where the model does not do it.

    Raises:
      InputError: with the side where it does.
    """
    check_denoise(self.config.model.film, denoise, side)

  def start_streams(
    self, side: str, *, streams: int, block_frames: int
  ) -> tuple[state_lib.Variables, state_lib.State]:
    """Returns the variables and the new state that `stream.step` takes.

    Args:
      side: 'encoder' or 'decoder'.
      streams: B.
      block_frames: F of a block.
    """
    key = side, streams, block_frames
    if key not in self._prepared:
      self._prepared[key] = step_lib.prepare(
        step_lib.network(self.config),
        self.variables,
        side=side,
        streams=streams,
        block_frames=block_frames,
      )
    variables, state = self._prepared[key]
    # Steps write over their state, so each stream has one of its own.
    return variables, state_lib.reset(state)

  def to_host(self) -> exported.Exported:
    """Returns all that `place` needs, for `exported.write`."""
    return exported.Exported(
      self.config,
      jax.device_get(self.variables["params"]),
      np.asarray(soundstream.vectors(self.variables)),
      step=self.step,
      weights=self.weights,
    )


class HasModel(Protocol):
  """Carries a model for streams: a TrainedModel itself, or its Codec."""

  @property
  def model(self) -> TrainedModel: ...


def load(
  folder: str | os.PathLike,
  *,
  step: int | str | None = None,
  weights: str | None = None,
) -> TrainedModel:
  """Loads a checkpoint of a run, or an exported model; see `read`."""
  return place(read(folder, step=step, weights=weights))


def read(
  folder: str | os.PathLike,
  *,
  step: int | str | None = None,
  weights: str | None = None,
) -> exported.Exported:
  """Reads a checkpoint of a run, or an exported model, for `place`.

  Args:
    folder: the workdir of a training run, or what `soundstream export` wrote.
    step: of the checkpoint, or 'best'; None takes the newest.
    weights: 'ema' (averaged parameters; None is these) or 'raw'.

  Raises:
    InputError: no such checkpoint or model.
  """
  paths.readable(os.fspath(folder), folder)
  if exported.is_exported(folder):
    return exported.read(folder, step=step, weights=weights)
  weights = weights or "ema"
  restored = weights_lib.restore(folder, step=step, weights=weights)
  return exported.Exported(
    restored.config,
    restored.params,
    restored.codebooks.vectors,
    step=restored.step,
    weights=weights,
  )


def place(arrays: exported.Exported) -> TrainedModel:
  """Places a model on the first local device.

  Raises:
    InputError: a compute_dtype that the codec does not serve.
  """
  if arrays.config.model.compute_dtype == "float64":
    raise errors.InputError(
      "model.compute_dtype='float64' is for tests of the model; the codec "
      "runs float32 and bfloat16."
    )
  device = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
  return TrainedModel(
    config=arrays.config,
    variables=jax.device_put(
      soundstream.variables(arrays.params, arrays.vectors), device
    ),
    fingerprint=fingerprint.compute(
      arrays.config, arrays.params, arrays.vectors
    ),
    step=arrays.step,
    weights=arrays.weights,
  )


def check_denoise(film: str, denoise: bool, side: str) -> None:
  """Refuses denoising on a side where a model does not do it.

  Args:
    film: where the model does: 'encoder', 'decoder' or 'none'.
    denoise: whether it is asked for.
    side: where, 'encoder' or 'decoder'.

  Raises:
    InputError: with the side where it does.
  """
  if not denoise or film == side:
    return
  if film == "none":
    raise errors.InputError(
      "--denoise: this model was trained without denoising (model.film="
      "none). Train one with --config=enhance_24khz, or leave --denoise out."
    )
  command = {"encoder": "encode", "decoder": "decode"}[film]
  raise errors.InputError(
    f"--denoise: this model denoises in its {film} (model.film="
    f"{film}). Give --denoise to soundstream {command}."
  )
