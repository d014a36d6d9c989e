"""Raw packets: the codes of a frame and nothing else, all of one size.

For transports that carry their own headers, lengths and checksums, as RTP over
UDP does. A packet is one frame of one channel: n_q codes from the first layer
to the last, each log2(K) bits, most significant bit first, without gaps; its
last byte is filled with 0 bits. A file of them is one packet after the other.
Model, bitrate and length are the transport's to know.
"""

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


def unpack(data: bytes, num_quantizers: int, bits: int) -> np.ndarray:
  """Inverse of `pack`: returns int32 codes [F, n_q].

  Raises:
    InputError: no whole number of packets, or a packet whose filling bits are
      not 0. Nothing else can be seen: packets have no checksum.
  """
  size = packet_bytes(num_quantizers, bits)
  if len(data) % size:
    raise errors.InputError(
      f"{len(data)} bytes are no whole number of packets of {size} bytes, "
      f"{num_quantizers} codes of {bits} bits. Give the bitrate that they were "
      "encoded at."
    )
  packets = np.frombuffer(data, np.uint8).reshape(-1, size)
  filled = packets[:, -1] & packing.filling_mask(num_quantizers, bits)
  if filled.any():
    raise errors.InputError(
      f"packet {int(np.argmax(filled != 0))} does not end with 0 bits after "
      f"{num_quantizers} codes of {bits} bits. Give the bitrate that the "
      "packets were encoded at."
    )
  return packing.unpack(packets, num_quantizers, bits)
