"""The model under test: codes of every clip, and what they take and decode to."""

import dataclasses
import functools
import os
import pathlib

import jax
import numpy as np

from soundstream_jax import errors, rates, whole_files
from soundstream_jax.codec import codec as codec_lib
from soundstream_jax.codec.sstr.entropy import measuring, table_files
from soundstream_jax.codec.sstr.entropy import tables as tables_lib
from soundstream_jax.evaluate.measuring import bits, clip_set, progress
from soundstream_jax.evaluate.systems import system as system_lib

NAME = "model"
# Below OUT: codes that are there already are not made again.
FOLDER = "codes"


@dataclasses.dataclass(frozen=True)
class Model:
  """A model with the codes of the clips that it is measured on.

  Attributes:
    codec: that encoded.
    codes: uint16 [F, Q] of each clip; of none if it is not measured.
    tables: of the entropy coder, that were measured for the model; None: a
      clip is coded with tables of the other clips.
  """

  codec: codec_lib.Codec
  codes: tuple[np.ndarray, ...]
  tables: tables_lib.Tables | None

  def system(self, depth: int) -> system_lib.System:
    """Returns the model at its first `depth` layers as a system under test."""
    bitrate_bps = self.codec.rates.bitrate_bps(depth)
    return system_lib.System(
      name=NAME,
      setting=rates.describe_bps(bitrate_bps),
      label=f"SoundStream {float(bitrate_bps) / 1000:.4g} kbit/s",
      bitrate_bps=float(bitrate_bps),
      version=(
        f"step {self.codec.step} ({self.codec.weights}), fingerprint "
        f"{self.codec.fingerprint.hex()}"
      ),
    )

  def decode(self, index: int, depth: int, *, frames: int) -> np.ndarray:
    """Returns float32 [frames * hop] of a clip's codes, repeated if need be."""
    codes = self.codes[index][:, :depth].astype(np.int32)
    return self.codec.decode(np.resize(codes, (frames, depth)))

  @functools.cached_property
  def counts(self) -> np.ndarray:
    """How often each code of each layer is used in all clips, [Q, K]."""
    size = self.codec.codebook_size
    return sum(measuring.count(codes, size) for codes in self.codes)

  @functools.cached_property
  def payload_bits(self) -> list[np.ndarray]:
    """Bits of 1, 2, ... layers of packed codes of each clip, [Q]."""
    size = self.codec.codebook_size
    return [np.cumsum(bits.packed(codes, size)) for codes in self.codes]

  @functools.cached_property
  def entropy_bits(self) -> list[np.ndarray | None]:
    """The same of entropy-coded codes; None of the only clip."""
    found = []
    for index, codes in enumerate(self.codes):
      tables = self.tables or bits.of_others(
        self.codes,
        index,
        counts=self.counts,
        fingerprint=self.codec.fingerprint,
      )
      found.append(
        None if tables is None else np.cumsum(bits.entropy_coded(codes, tables))
      )
    return found

  @property
  def entropy_tables(self) -> str:
    """Says which tables `entropy_bits` are of."""
    if self.tables is not None:
      return f"the model's, {self.tables.identity.hex()}"
    return "for each clip those of all other clips"

  @property
  def num_parameters(self) -> int:
    """Of encoder, decoder and projections of codes; codebooks apart."""
    return sum(x.size for x in jax.tree.leaves(self.codec.variables["params"]))


def of(
  codec: codec_lib.Codec,
  folder: str | os.PathLike,
  clips: clip_set.ClipSet | None,
  *,
  out: pathlib.Path | None,
) -> Model:
  """Encodes clips, or reads their codes where an earlier call left them.

  Args:
    codec: the model.
    folder: that it was loaded from, which may have tables of it.
    clips: to encode; None: nothing is.
    out: where codes are kept; None keeps none.

  Raises:
    InputError: a clip that has changed, or damaged tables.
    DiskError: the disk cannot be written to.
  """
  if clips is None:
    return Model(codec, (), None)
  tables = table_files.all_for_model(folder, codec.fingerprint)
  found = [_kept(_path(out, codec, clip), codec, clip) for clip in clips.clips]
  shown = progress.Progress(
    sum(codes is None for codes in found), noun="clips encoded"
  )
  for i, clip in enumerate(clips.clips):
    if found[i] is None:
      found[i] = codec.encode(clip.load()).astype(np.uint16)
      _keep(_path(out, codec, clip), found[i])
      shown.add()
  return Model(codec, tuple(found), tables[-1] if tables else None)


def _path(out, codec, clip: clip_set.Clip) -> pathlib.Path | None:
  if out is None:
    return None
  name = f"{codec.fingerprint.hex()[:32]}-{clip.digest[:32]}.npy"
  return out / FOLDER / name


def _kept(path, codec, clip: clip_set.Clip) -> np.ndarray | None:
  """Returns codes that were kept; None: there are none, or they are damaged."""
  try:
    codes = np.load(path, allow_pickle=False)
  except (TypeError, OSError, ValueError, EOFError):
    return None
  shape = (clip.samples // codec.hop_samples, codec.num_quantizers)
  good = codes.shape == shape and codes.dtype == np.uint16
  return codes if good and codes.max() < codec.codebook_size else None


def _keep(path: pathlib.Path | None, codes: np.ndarray) -> None:
  if path is None:
    return
  with errors.writing("codes", path.parent):
    path.parent.mkdir(exist_ok=True)
  with whole_files.opened(path) as file:
    np.save(file, codes, allow_pickle=False)
