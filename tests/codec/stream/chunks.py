"""Sound or codes given to a stream in chunks."""

import numpy as np


def run(stream, items, lengths=()):
  """Returns all that a stream makes of items, given in chunks of lengths.

  What the lengths leave is the last chunk; the flush leaves the stream new.
  """
  edges = np.cumsum(lengths, dtype=int)
  pieces = np.split(items, edges[edges < len(items)])
  parts = [stream.push(piece) for piece in pieces]
  return np.concatenate([*parts, stream.flush()[0]])
