"""Codes to the bytes of an .sstr file and back, with a header of the model."""

import numpy as np

from soundstream_jax import errors
from soundstream_jax.codec import trained_model
from soundstream_jax.codec.sstr import header as header_lib
from soundstream_jax.codec.sstr import reader, writer
from soundstream_jax.codec.sstr.entropy import tables as tables_lib


def header(
  model: trained_model.TrainedModel,
  *,
  num_quantizers: int,
  source_samples: int | None,
  source_rate_hz: int | None = None,
  source_channels: int = 1,
  channels: int | None = None,
  chunk_frames: int = writer.FILE_FRAMES,
  tables: tables_lib.Tables | None = None,
) -> header_lib.Header:
  """Returns the header of a file or stream.

  Args:
    model: that made the codes.
    num_quantizers: q.
    source_samples: per channel; None in a stream.
    source_rate_hz: None is the model's.
    source_channels: of the source.
    channels: that are coded; None is all.
    chunk_frames: of a chunk, at most.
    tables: of the entropy coder.

  Raises:
    InputError: more than the format holds.
  """
  return header_lib.Header(
    source_rate_hz=source_rate_hz or model.rates.sample_rate_hz,
    source_samples=source_samples,
    source_channels=source_channels,
    channels=channels or source_channels,
    model_rate_hz=model.rates.sample_rate_hz,
    strides=model.rates.strides,
    codebook_size=model.rates.codebook_size,
    model_quantizers=model.rates.num_quantizers,
    num_quantizers=num_quantizers,
    chunk_frames=chunk_frames,
    fingerprint=model.fingerprint,
    step=model.step,
    weights=model.weights,
    tables=tables.identity if tables else bytes(16),
  )


def to_bytes(
  model: trained_model.TrainedModel,
  codes: np.ndarray,
  num_samples: int | None,
  *,
  tables: tables_lib.Tables | None,
) -> bytes:
  """Returns a whole .sstr file of codes (docs/format.md).

  Args:
    model: that made the codes.
    codes: [F, q], or [C, F, q] of channels.
    num_samples: of the audio, per channel; None is all of the last frame.
    tables: of the entropy coder; None packs.

  Raises:
    InputError: codes that the model does not have, or samples that are not in
      the last frame.
  """
  channels = codes[None] if codes.ndim == 2 else codes
  if num_samples is None:
    num_samples = channels.shape[1] * model.rates.hop_samples
  made = header(
    model,
    num_quantizers=channels.shape[-1],
    source_samples=num_samples,
    source_channels=len(channels),
    tables=tables,
  )
  return writer.to_bytes(made, channels, tables=tables)


def from_bytes(
  model: trained_model.TrainedModel,
  data: bytes,
  *,
  tables: tables_lib.Tables | None,
) -> np.ndarray:
  """Returns the codes of an .sstr file: int32 [F, q], or [C, F, q].

  Args:
    model: that must have made them.
    data: the whole file, of any version.
    tables: where the file is entropy coded, the tables that it names.

  Raises:
    InputError: not such a file, damage, or another model's.
  """
  recording = reader.from_bytes(data, tables=tables)
  if recording.header.fingerprint != model.fingerprint:
    raise errors.InputError(
      f"the file was made by the model "
      f"{recording.header.fingerprint.hex()[:12]}, not by this one, "
      f"{model.fingerprint.hex()[:12]}."
    )
  codes = recording.codes
  return codes[0] if len(codes) == 1 else codes
