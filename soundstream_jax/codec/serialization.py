"""A model's codes as the bytes of a file, under a header that names it."""

import numpy as np

from soundstream_jax import errors
from soundstream_jax.codec.sstr import header as header_lib
from soundstream_jax.codec.sstr import reader, writer
from soundstream_jax.codec.sstr.entropy import tables as tables_lib


def header(
  codec,
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
    codec: `codec.Codec` that made the codes.
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
    source_rate_hz=source_rate_hz or codec.sample_rate,
    source_samples=source_samples,
    source_channels=source_channels,
    channels=channels or source_channels,
    model_rate_hz=codec.sample_rate,
    strides=codec.rates.strides,
    codebook_size=codec.codebook_size,
    model_quantizers=codec.num_quantizers,
    num_quantizers=num_quantizers,
    chunk_frames=chunk_frames,
    fingerprint=codec.fingerprint,
    step=codec.step,
    weights=codec.weights,
    tables=tables.identity if tables else bytes(16),
  )


def to_bytes(
  codec,
  codes: np.ndarray,
  num_samples: int | None,
  *,
  tables: tables_lib.Tables | None,
) -> bytes:
  """What `codec.Codec.to_bytes` does."""
  channels = codes[None] if codes.ndim == 2 else codes
  if num_samples is None:
    num_samples = channels.shape[1] * codec.hop_samples
  made = header(
    codec,
    num_quantizers=channels.shape[-1],
    source_samples=num_samples,
    source_channels=len(channels),
    tables=tables,
  )
  return writer.to_bytes(made, channels, tables=tables)


def from_bytes(
  codec, data: bytes, *, tables: tables_lib.Tables | None
) -> np.ndarray:
  """What `codec.Codec.from_bytes` does."""
  recording = reader.from_bytes(data, tables=tables)
  if recording.header.fingerprint != codec.fingerprint:
    raise errors.InputError(
      f"the file was made by the model "
      f"{recording.header.fingerprint.hex()[:12]}, not by this one, "
      f"{codec.fingerprint.hex()[:12]}."
    )
  codes = recording.codes
  return codes[0] if len(codes) == 1 else codes
