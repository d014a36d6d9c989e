"""The fingerprint of a model: two are equal if they compute the same codec.

SHA-256 over, in this order:

1. one JSON object, keys sorted, no spaces, a newline after it: the names in
   `STRUCTURE` with their values, but for those of `LATER` at the value there,
   and "fingerprint": 1, the version of this definition;
2. for every generator parameter and for the codebook vectors, in the order of
   their paths' UTF-8 bytes: one JSON array [path, shape], no spaces, a newline
   after it, then the values as little-endian float32 in C order.

A parameter's path is its keys joined by "/", after "params/"; the vectors' is
"codebooks/vectors". The statistics that codebooks are learnt from do not count.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from soundstream_jax import config as config_lib

# What changes the function that encode and decode compute. compute_dtype is
# part of it: the same parameters in bfloat16 give other codes. What training
# computes in (train_dtype) is not.
STRUCTURE = (
  "audio.sample_rate_hz",
  "model.encoder",
  "model.encoder_channels",
  "model.decoder_channels",
  "model.strides",
  "model.embedding_dim",
  "model.residual_kernel",
  "model.residual_hidden_ratio",
  "model.activation",
  "model.film",
  "model.compute_dtype",
  "quantizer.num_quantizers",
  "quantizer.codebook_size",
  "quantizer.kind",
  "quantizer.code_dim",
)

# Fields that came later, with what all models before them were.
LATER = {
  "model.encoder": "learned",
  "model.activation": "elu",
  "quantizer.kind": "ema",
  "quantizer.code_dim": 8,
}

# How a model begins and its codebooks are learnt; once learnt, these change no
# code.
TRAINING_ONLY = (
  "model.input_gain",
  "quantizer.dropout",
  "quantizer.dropout_probability",
  "quantizer.dropout_depths",
  "quantizer.bypass_probability",
  "quantizer.ema_decay",
  "quantizer.kmeans_iterations",
  "quantizer.kmeans_batches",
  "quantizer.revival_threshold",
  "quantizer.revival_candidates",
)


def compute(
  config: config_lib.Config,
  params: Mapping[str, Any],
  vectors: Any,
) -> bytes:
  """Returns the 32 bytes of the fingerprint.

  Args:
    config: of the run that made the parameters.
    params: nested mapping of the generator's float32 parameters.
    vectors: of the codebooks, float32 [Q, K, C].

  Raises:
    TypeError: an array that is not float32.
  """
  structure = {name: config_lib.get(config, name) for name in STRUCTURE}
  for name, value in LATER.items():
    if structure[name] == value:
      del structure[name]
  digest = hashlib.sha256(_json({"fingerprint": 1, **structure}))
  arrays = dict(_leaves(params, "params"))
  arrays["codebooks/vectors"] = vectors
  update(digest, arrays)
  return digest.digest()


def update(digest: Any, arrays: Mapping[str, Any]) -> None:
  """Adds arrays by their paths to a digest of hashlib, as 2. says.

  Raises:
    TypeError: an array that is not float32.
  """
  for path in sorted(arrays, key=str.encode):
    array = np.asarray(arrays[path])
    if array.dtype != np.float32:
      raise TypeError(f"{path} is {array.dtype}, not float32.")
    digest.update(_json([path, array.shape]))
    digest.update(array.astype("<f4", order="C", copy=False).tobytes())


def _json(value: Any) -> bytes:
  text = json.dumps(value, sort_keys=True, separators=(",", ":"))
  return text.encode() + b"\n"


def _leaves(tree: Any, path: str) -> Iterator[tuple[str, Any]]:
  if isinstance(tree, Mapping):
    for name, branch in tree.items():
      yield from _leaves(branch, f"{path}/{name}")
  else:
    yield path, tree
