"""Encodes codes as the entries of chunks and back, packed or entropy coded.

All chunks of one shape are done at once, which is what makes it fast.
"""

import contextlib
from collections.abc import Sequence

import numpy as np

from soundstream_jax import errors
from soundstream_jax.codec.sstr import chunks, packing, scan
from soundstream_jax.codec.sstr import header as header_lib
from soundstream_jax.codec.sstr.entropy import plane_coder
from soundstream_jax.codec.sstr.entropy import tables as tables_lib


def encode(
  codes: np.ndarray,
  header: header_lib.Header,
  *,
  first_frame: int,
  chunk_frames: int,
  tables: tables_lib.Tables | None,
) -> list[bytes]:
  """Returns chunks of codes.

  Args:
    codes: integers [C, M * N, n_q].
    header: of the file.
    first_frame: of the codes.
    chunk_frames: N, of each of the M chunks.
    tables: of the entropy coder; None packs.

  Raises:
    InputError: codes that are not below the codebook size.
  """
  channels, frames, n_q = codes.shape
  num_chunks, per_chunk = frames // chunk_frames, n_q * channels
  planes = codes.reshape(channels, num_chunks, chunk_frames, n_q)
  planes = planes.transpose(1, 3, 0, 2).reshape(-1, chunk_frames)
  places = [
    {
      "first_frame": first_frame + chunk * chunk_frames,
      "frames": chunk_frames,
      "layer": layer,
      "channel": channel,
    }
    for chunk in range(num_chunks)
    for layer in range(n_q)
    for channel in range(channels)
  ]
  if tables is None:
    kind = chunks.PACKED
    packed = packing.pack(planes, header.code_bits)
    size, data = packed.shape[1], packed.tobytes()
    blobs = [data[i * size : (i + 1) * size] for i in range(len(places))]
  else:
    kind = chunks.ENTROPY
    layers = np.array([place["layer"] for place in places], np.int64)
    blobs = plane_coder.encode_planes(planes, layers, tables)
  entries = [
    chunks.entry(blob, kind, **place)
    for blob, place in zip(blobs, places, strict=True)
  ]
  made = []
  for chunk in range(num_chunks):
    body = b"".join(entries[chunk * per_chunk : (chunk + 1) * per_chunk])
    first = first_frame + chunk * chunk_frames
    head = chunks.Head(kind, chunk_frames, n_q, first, len(body))
    made.append(head.to_bytes() + body)
  return made


def decode(
  found: Sequence[scan.Chunk],
  header: header_lib.Header,
  *,
  tables: tables_lib.Tables | None,
) -> tuple[np.ndarray, np.ndarray]:
  """Returns the codes of chunks of one shape.

  Args:
    found: M chunks of one kind, with the same frames and number of entries.
    header: of the file.
    tables: of the entropy coder, for chunks that need them.

  Returns:
    int32 codes [M, C, N, q], 0 where they are not whole, and int64 [M, C], how
    many layers are: fewer than a chunk's `layers` where the entropy coder finds
    damage.
  """
  head, channels = found[0].head, header.channels
  q = len(found[0].entries) // channels
  layers = np.array([chunk.layers for chunk in found], np.int64)
  whole = np.arange(q)[:, None] < layers[:, None]  # [M, q, C]
  blobs = [chunks.plane(r, head.kind) for chunk in found for r in chunk.entries]
  if head.kind == chunks.PACKED:
    packed = np.frombuffer(b"".join(blobs), np.uint8).reshape(len(blobs), -1)
    packed = packed * whole.reshape(-1, 1)
    planes = packing.unpack(packed, head.frames, header.code_bits)
  else:
    planes, good = _decode_entropy(
      blobs, whole.reshape(-1), head.frames, channels, q, tables
    )
    good = good.reshape(whole.shape)
    layers = np.logical_and.accumulate(good, axis=1).sum(axis=1)
    above = np.arange(q)[:, None] >= layers[:, None]
    planes[above.reshape(-1)] = 0
  planes = planes.reshape(len(found), q, channels, head.frames)
  return planes.transpose(0, 2, 3, 1), layers


def _decode_entropy(
  blobs: list[bytes],
  whole: np.ndarray,
  frames: int,
  channels: int,
  q: int,
  tables: tables_lib.Tables,
) -> tuple[np.ndarray, np.ndarray]:
  """Returns codes [P, frames] and which planes are good, [P]."""
  planes = np.zeros((len(blobs), frames), np.int32)
  good = whole.copy()
  layers = np.arange(len(blobs)) // channels % q

  def decode_these(which):
    planes[which] = plane_coder.decode_planes(
      [blobs[i] for i in which], layers[which], frames, tables
    )

  try:
    decode_these(np.flatnonzero(whole))
  except errors.InputError:
    # Checksums were right: written so. One by one, to keep the others.
    for i in np.flatnonzero(whole):
      good[i] = False
      with contextlib.suppress(errors.InputError):
        decode_these(np.array([i]))
        good[i] = True
  return planes, good
