"""The header of a file that holds a model's codes."""

from soundstream_jax.codec.sstr import header as header_lib
from soundstream_jax.codec.sstr import tables as tables_lib
from soundstream_jax.codec.sstr import writer


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
