"""Codec: the face of a trained model, which encodes and decodes audio."""

import os
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

import numpy as np

from soundstream_jax import config as config_lib
from soundstream_jax import rates
from soundstream_jax.checkpoint import exported
from soundstream_jax.codec import (
  offline,
  serialization,
  trained_model,
)
from soundstream_jax.codec.sstr.entropy import tables as tables_lib
from soundstream_jax.model import soundstream


class Codec:
  """One model on one device, for audio of any length.

  Audio goes through it as a stream does (see `stream.encoder`), in blocks of
  `offline.BLOCK_FRAMES`, one clip at a time: so a clip's codes are the same
  bits alone, in a batch, or with zeros behind it.
  Lower bitrates are prefixes: all layers are computed by one program and the
  first are kept. Threads may share a codec.

  >>> codec = soundstream_jax.load("runs/speech")
  >>> codec.sample_rate, codec.codebook_size, codec.num_quantizers
  (8000, 16, 4)
  >>> [float(bps) for bps in codec.bitrates]
  [3200.0, 6400.0, 9600.0, 12800.0]
  >>> audio = np.zeros(8_000, np.float32)
  >>> codes = codec.encode(audio, bitrate_bps=6_400)
  >>> codes.shape, codes.dtype
  ((800, 2), dtype('int32'))
  >>> codec.decode(codes).shape
  (8000,)
  >>> np.array_equal(codec.from_bytes(codec.to_bytes(codes)), codes)
  True
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
      vectors: of the codebooks, float32 [Q, K, C].
      step: of the checkpoint.
      weights: 'ema' or 'raw', which of the checkpoint's parameters these are.

    Raises:
      InputError: a compute_dtype that the codec does not serve.
    """
    self._model = trained_model.place(
      exported.Exported(config, params, vectors, step=step, weights=weights)
    )

  @classmethod
  def load(
    cls,
    folder: str | os.PathLike,
    *,
    step: int | str | None = None,
    weights: str | None = None,
  ) -> "Codec":
    """Loads a checkpoint of a run, or an exported model.

    Args:
      folder: the workdir of a training run, or what `soundstream export` wrote.
      step: of the checkpoint, or 'best'; None takes the newest.
      weights: 'ema' (averaged parameters; None is these) or 'raw'.

    Raises:
      InputError: no such checkpoint or model.
    """
    found = trained_model.read(folder, step=step, weights=weights)
    return cls(
      found.config,
      found.params,
      found.vectors,
      step=found.step,
      weights=found.weights,
    )

  def as_exported(self) -> exported.Exported:
    """Returns all that `load` needs, for `exported.write`."""
    return self._model.to_host()

  @property
  def model(self) -> trained_model.TrainedModel:
    """The model, without the ways to use it."""
    return self._model

  @property
  def config(self) -> config_lib.Config:
    """Of the run that made the parameters."""
    return self._model.config

  @property
  def variables(self) -> dict:
    """Parameters and codebooks on the device, as the model's `apply` takes."""
    return self._model.variables

  @property
  def rates(self) -> rates.Rates:
    return self._model.rates

  @property
  def sample_rate(self) -> int:
    """In Hz."""
    return self.rates.sample_rate_hz

  @property
  def hop_samples(self) -> int:
    return self.rates.hop_samples

  @property
  def decoder_context_samples(self) -> int:
    """The samples of the past that a decoded sample may depend on."""
    context = soundstream.context(self.config)
    return context.decoder_frames * self.hop_samples

  @property
  def frame_rate(self) -> Fraction:
    """Frames per second."""
    return self.rates.frame_rate_hz

  @property
  def num_quantizers(self) -> int:
    return self.rates.num_quantizers

  @property
  def codebook_size(self) -> int:
    return self.rates.codebook_size

  @property
  def bitrates(self) -> list[Fraction]:
    """The bitrate of 1, 2, ... layers, in bits per second of a channel."""
    return [
      self.rates.bitrate_bps(q) for q in range(1, self.num_quantizers + 1)
    ]

  @property
  def fingerprint(self) -> bytes:
    """32 bytes that name the model; see `fingerprint.compute`."""
    return self._model.fingerprint

  @property
  def step(self) -> int:
    return self._model.step

  @property
  def weights(self) -> str:
    return self._model.weights

  @property
  def film(self) -> str:
    """Where denoising is switched: 'encoder', 'decoder' or 'none'."""
    return self._model.config.model.film

  def encode(
    self,
    audio: Any,
    *,
    bitrate_bps: float | None = None,
    denoise: bool = False,
  ) -> np.ndarray | list[np.ndarray]:
    """Encodes waveforms of any length.

    Args:
      audio: numpy or jax [N] at `sample_rate`, a batch [B, N], or a list of
        [N]; the last frame is filled with zeros.
      bitrate_bps: one of `bitrates`; None is the highest.
      denoise: takes noise away from speech; where `film` is 'encoder'.

    Returns:
      int32 codes [F, q], F = ceil(N / hop_samples); [B, F, q], or a list.

    Raises:
      InputError: another shape, a value that is not finite, a bitrate that
        the model does not have (the message lists those it has), or denoising
        where the model cannot do it.
    """
    return offline.encode(
      self._model, audio, bitrate_bps=bitrate_bps, denoise=denoise
    )

  def decode(
    self, codes: Any, *, layers: Any = None, denoise: bool = False
  ) -> np.ndarray | list[np.ndarray]:
    """Decodes codes of the first q layers.

    Args:
      codes: of `encode`: [F, q], [B, F, q], or a list of [F, q].
      layers: int [F], [B, F], or a list: how many of a frame's first layers
        arrived. Fewer than q lower that frame's bitrate, and 0 is a lost frame,
        which is concealed (see `concealment`). None is all.
      denoise: takes noise away from speech; where `film` is 'decoder'.

    Returns:
      float32 [F * hop_samples] at `sample_rate`, a batch, or a list. The caller
      drops what filled the last frame.

    Raises:
      InputError: another shape, codes that the model does not have, or
        denoising where the model cannot do it.
    """
    return offline.decode(self._model, codes, layers=layers, denoise=denoise)

  def to_bytes(
    self,
    codes: Any,
    *,
    num_samples: int | None = None,
    tables: tables_lib.Tables | None = None,
  ) -> bytes:
    """Returns an .sstr file of codes (docs/format.md).

    Args:
      codes: [F, q], or [C, F, q] of channels.
      num_samples: of the audio, per channel; None is all of the last frame.
      tables: of the entropy coder; None packs.

    Raises:
      InputError: codes that the model does not have, or samples that are not in
        the last frame.
    """
    codes = np.asarray(codes)
    return serialization.to_bytes(
      self._model, codes, num_samples, tables=tables
    )

  def from_bytes(
    self, data: bytes, *, tables: tables_lib.Tables | None = None
  ) -> np.ndarray:
    """Returns the codes of an .sstr file: int32 [F, q], or [C, F, q].

    Args:
      data: the whole file, of any version.
      tables: where the file is entropy coded, the tables that it names.

    Raises:
      InputError: not such a file, damage, or another model's.
    """
    return serialization.from_bytes(self._model, data, tables=tables)

  def quantizers_for(self, bitrate_bps: float) -> int:
    """Returns the number of layers that make exactly this bitrate.

    Raises:
      InputError: the model does not have it; the message lists those it has.
    """
    return self._model.layers_for(bitrate_bps)

  def check_denoise(self, denoise: bool, side: str) -> None:
    """Refuses denoising on a side where the model does not do it.

    Raises:
      InputError: with the side where it does.
    """
    trained_model.check_denoise(self.film, denoise, side)
