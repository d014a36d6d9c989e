"""A trained model that turns audio into codes and codes into audio."""

import functools
import math
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from soundstream_jax import checkpoint, errors, rates
from soundstream_jax import config as config_lib
from soundstream_jax.codec import exported, fingerprint, windows
from soundstream_jax.model import soundstream

WINDOW_S = 10
# A window is at least this many contexts long, so that models which look far
# back spend at most a quarter of their work on frames that are dropped.
WINDOW_CONTEXTS = 4


class Codec:
  """One model on one device, for audio of any length.

  Encoding and decoding run in windows (see `windows`) and compile once for
  each of a few window lengths. Lower bitrates are prefixes: all layers are
  computed by one program and the first are kept, so the codes of a lower
  bitrate equal the first layers of a higher one exactly.
  """

  def __init__(
    self,
    config: config_lib.Config,
    params: Mapping[str, Any],
    vectors: Any,
    *,
    step: int,
    weights: str,
  ):
    """Places a model on the first local device.

    Args:
      config: that the parameters were trained with.
      params: generator parameters, float32.
      vectors: of the codebooks, float32 [Q, K, D].
      step: of the checkpoint.
      weights: 'ema' or 'raw', which of the checkpoint's parameters these are.

    Raises:
      InputError: a compute_dtype that the codec does not serve.
    """
    if config.model.compute_dtype == "float64":
      raise errors.InputError(
        "model.compute_dtype='float64' is for tests of the model; the codec "
        "runs float32 and bfloat16."
      )
    self._config = config
    self._step = step
    self._weights = weights
    self._fingerprint = fingerprint.compute(config, params, vectors)
    self._context = soundstream.context(config)
    net = soundstream.from_config(config)
    sharding = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    self._variables = jax.device_put(
      soundstream.variables(params, vectors), sharding
    )
    # Nothing is donated: no output has the shape of an input.
    self._encode, self._decode = (
      jax.jit(
        functools.partial(function, net),
        donate_argnums=(),
        out_shardings=sharding,
      )
      for function in (_encode, _decode)
    )

  @classmethod
  def load(
    cls,
    folder: str,
    *,
    step: int | None = None,
    weights: str | None = None,
  ) -> "Codec":
    """Loads a checkpoint of a run, or an exported model.

    Args:
      folder: the workdir of a training run, or what `soundstream export` wrote.
      step: of the checkpoint; None takes the newest.
      weights: 'ema' (averaged parameters; None is these) or 'raw'.

    Raises:
      InputError: no such checkpoint or model.
    """
    if exported.is_exported(folder):
      model = exported.read(folder)
      for name, asked, has in (
        ("step", step, model.step),
        ("weights", weights, model.weights),
      ):
        if asked not in (None, has):
          raise errors.InputError(
            f"{folder} is an exported model of {name}={has}, not {asked}. "
            "Give the workdir of its run."
          )
      return cls(
        model.config,
        model.params,
        model.vectors,
        step=model.step,
        weights=model.weights,
      )
    weights = weights or "ema"
    restored = checkpoint.restore_params_only(
      folder, step=step, weights=weights
    )
    return cls(
      restored.config,
      restored.params,
      restored.codebooks.vectors,
      step=restored.step,
      weights=weights,
    )

  def as_exported(self) -> exported.Exported:
    """Returns all that `load` needs, for `exported.write`."""
    return exported.Exported(
      self._config,
      jax.device_get(self._variables["params"]),
      np.asarray(soundstream.vectors(self._variables)),
      step=self._step,
      weights=self._weights,
    )

  @property
  def config(self) -> config_lib.Config:
    """Of the run that made the parameters."""
    return self._config

  @property
  def variables(self) -> dict:
    """Parameters and codebooks on the device, as the model's `apply` takes."""
    return self._variables

  @property
  def rates(self) -> rates.Rates:
    return self._config.rates

  @property
  def sample_rate_hz(self) -> int:
    return self.rates.sample_rate_hz

  @property
  def hop_samples(self) -> int:
    return self.rates.hop_samples

  @property
  def frame_rate_hz(self) -> Fraction:
    return self.rates.frame_rate_hz

  @property
  def num_quantizers(self) -> int:
    return self.rates.num_quantizers

  @property
  def codebook_size(self) -> int:
    return self.rates.codebook_size

  @property
  def bitrates_bps(self) -> list[Fraction]:
    """The bitrate of 1, 2, ... layers."""
    return [
      self.rates.bitrate_bps(q) for q in range(1, self.num_quantizers + 1)
    ]

  @property
  def fingerprint(self) -> bytes:
    """32 bytes that name the model; see `fingerprint.compute`."""
    return self._fingerprint

  @property
  def step(self) -> int:
    return self._step

  @property
  def weights(self) -> str:
    return self._weights

  @property
  def film(self) -> str:
    """Where denoising is switched: 'encoder', 'decoder' or 'none'."""
    return self._config.model.film

  def encode(
    self,
    audio: np.ndarray,
    *,
    bitrate_bps: float | None = None,
    denoise: bool = False,
  ) -> np.ndarray:
    """Encodes a waveform of any length.

    Args:
      audio: [N] at `sample_rate_hz`; the last frame is filled with zeros.
      bitrate_bps: one of `bitrates_bps`; None is the highest.
      denoise: takes noise away from speech; where `film` is 'encoder'.

    Returns:
      int32 codes [F, q], F = ceil(N / hop_samples).

    Raises:
      InputError: another shape, a value that is not finite, a bitrate that
        the model does not have (the message lists those it has), or denoising
        where the model cannot do it.
    """
    self.check_denoise(denoise, "encoder")
    layers = self.num_quantizers
    if bitrate_bps is not None:
      layers = self.quantizers_for(bitrate_bps)
    audio = np.asarray(audio, np.float32)
    if audio.ndim != 1:
      raise errors.InputError(
        f"audio has shape {audio.shape}; the codec takes one channel, [N]."
      )
    finite = np.isfinite(audio)
    if not finite.all():
      index = int(np.argmin(finite))
      raise errors.InputError(
        f"audio has {audio[index]} at sample {index}; it must be finite."
      )
    frames = self.rates.num_frames(len(audio))
    if not frames:
      return np.zeros((0, layers), np.int32)
    filled = np.pad(audio, (0, frames * self.hop_samples - len(audio)))
    codes = windows.apply(
      functools.partial(self._encode, self._variables, _flag(denoise)),
      filled.reshape(frames, self.hop_samples),
      context_frames=self._context.encoder_frames,
      window_frames=self._window_frames(self._context.encoder_frames),
    )
    return codes[:, :layers]

  def decode(self, codes: np.ndarray, *, denoise: bool = False) -> np.ndarray:
    """Decodes codes [F, q] of the first q layers.

    Args:
      codes: of `encode`.
      denoise: takes noise away from speech; where `film` is 'decoder'.

    Returns:
      [F * hop_samples] at `sample_rate_hz`. The caller drops what filled the
      last frame.

    Raises:
      InputError: another shape, codes that the model does not have, or
        denoising where the model cannot do it.
    """
    self.check_denoise(denoise, "decoder")
    codes = np.asarray(codes)
    if codes.ndim != 2 or not 1 <= codes.shape[1] <= self.num_quantizers:
      raise errors.InputError(
        f"codes have shape {codes.shape}; the model takes [F, q] with q from 1 "
        f"to {self.num_quantizers}."
      )
    if not np.issubdtype(codes.dtype, np.integer):
      raise errors.InputError(f"codes of type {codes.dtype} are no integers.")
    if not len(codes):
      return np.zeros((0,), np.float32)
    if codes.min() < 0 or codes.max() >= self.codebook_size:
      raise errors.InputError(
        f"codes from {codes.min()} to {codes.max()} are not all below the "
        f"codebook size {self.codebook_size}."
      )
    audio = windows.apply(
      functools.partial(self._decode, self._variables, _flag(denoise)),
      codes.astype(np.int32),
      context_frames=self._context.decoder_frames,
      window_frames=self._window_frames(self._context.decoder_frames),
    )
    return audio.reshape(-1)

  def quantizers_for(self, bitrate_bps: float) -> int:
    """Returns the number of layers that make exactly this bitrate.

    Raises:
      InputError: the model does not have it; the message lists those it has.
    """
    if not math.isfinite(bitrate_bps):
      raise errors.InputError(f"bitrate={bitrate_bps} must be finite.")
    return self.rates.quantizers_for(bitrate_bps)

  def check_denoise(self, denoise: bool, side: str) -> None:
    """Refuses denoising on a side where the model does not do it.

    Raises:
      InputError: with the side where it does.
    """
    if not denoise or self.film == side:
      return
    if self.film == "none":
      raise errors.InputError(
        "--denoise: this model was trained without denoising (model.film="
        "none). Train one with --config=enhance_24khz, or leave --denoise out."
      )
    command = {"encoder": "encode", "decoder": "decode"}[self.film]
    raise errors.InputError(
      f"--denoise: this model denoises in its {self.film} (model.film="
      f"{self.film}). Give --denoise to soundstream {command}."
    )

  def _window_frames(self, context_frames: int) -> int:
    return max(
      math.ceil(WINDOW_S * self.frame_rate_hz),
      WINDOW_CONTEXTS * context_frames,
    )


def _flag(denoise: bool) -> np.ndarray:
  return np.asarray([denoise])


def _encode(
  net: nn.Module, variables: dict, denoise: jax.Array, frames: jax.Array
) -> jax.Array:
  """Audio frames [F, hop] -> codes [F, Q] int32."""
  # Accelerators may round float32 products to fewer bits unless told not to;
  # then codes would differ from machine to machine.
  with jax.default_matmul_precision("highest"):
    latents = net.apply(
      variables,
      frames.reshape(1, frames.size, 1),
      denoise=denoise,
      method="encode",
    )
    return net.apply(variables, latents, method="quantize").codes[0]


def _decode(
  net: nn.Module, variables: dict, denoise: jax.Array, codes: jax.Array
) -> jax.Array:
  """Codes [F, q] -> audio frames [F, hop] float32."""
  with jax.default_matmul_precision("highest"):
    latents = net.apply(variables, codes[None], method="dequantize")
    audio = net.apply(variables, latents, denoise=denoise, method="decode")
  return audio.reshape(len(codes), -1).astype(jnp.float32)
