"""Raw packets: the codes of a frame and nothing else, all of one size.

For transports that carry their own headers, lengths and checksums, as RTP over
UDP does. A packet is one frame of one channel: n_q codes from the first layer
to the last, each log2(K) bits, most significant bit first, without gaps; its
last byte is filled with 0 bits. A file of them is one packet after the other.
Model, bitrate and length are the transport's to know.
"""

from typing import BinaryIO

import numpy as np

from soundstream_jax import errors
from soundstream_jax.codec.sstr import packing


def packet_bytes(num_quantizers: int, bits: int) -> int:
  """Returns the size of every packet."""
  return packing.plane_bytes(num_quantizers, bits)


def pack(codes: np.ndarray, bits: int) -> bytes:
  """Returns the packets of codes [F, n_q], one after the other.

  Raises:
    InputError: codes of another shape, or that do not fit `bits`.
  """
  codes = np.asarray(codes)
  if codes.ndim != 2:
    raise errors.InputError(
      f"codes have shape {codes.shape}; packets are of one channel, [F, n_q]."
    )
  return packing.pack(codes, bits).tobytes()


def check_size(size: int, num_quantizers: int, bits: int) -> None:
  """Refuses so many bytes if they are no whole number of packets.

  Raises:
    InputError: they are not.
  """
  each = packet_bytes(num_quantizers, bits)
  if size % each:
    raise errors.InputError(
      f"{size} bytes are no whole number of packets of {each} bytes, "
      f"{num_quantizers} codes of {bits} bits. Give the bitrate that they were "
      "encoded at."
    )


def unpack(
  data: bytes, num_quantizers: int, bits: int, *, first: int = 0
) -> np.ndarray:
  """Inverse of `pack`: returns int32 codes [F, n_q].

  Args:
    data: packets.
    num_quantizers: n_q.
    bits: of a code.
    first: of the packets, as errors count them.

  Raises:
    InputError: no whole number of packets, or a packet whose filling bits are
      not 0. Nothing else can be seen: packets have no checksum.
  """
  check_size(len(data), num_quantizers, bits)
  size = packet_bytes(num_quantizers, bits)
  packets = np.frombuffer(data, np.uint8).reshape(-1, size)
  filled = packets[:, -1] & packing.filling_mask(num_quantizers, bits)
  if filled.any():
    raise errors.InputError(
      f"packet {first + int(np.argmax(filled != 0))} does not end with 0 bits after "
      f"{num_quantizers} codes of {bits} bits. Give the bitrate that the "
      "packets were encoded at."
    )
  return packing.unpack(packets, num_quantizers, bits)


class Writer:
  """Writes packets as their codes come, as `writer.Writer` writes chunks."""

  def __init__(self, file: BinaryIO, bits: int):
    self._file, self._bits, self._size = file, bits, 0

  def write(self, codes: np.ndarray) -> None:
    """Writes codes [1, F, n_q]."""
    (packets,) = codes
    data = pack(packets, self._bits)
    self._file.write(data)
    self._size += len(data)

  def close(self, source_samples: int | None = None) -> int:
    """Returns the bytes written; packets do not say how many samples."""
    del source_samples
    return self._size

  close_file = close
