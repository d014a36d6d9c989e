"""Golden values: a sound and what the model makes of it, for ports to test.

    golden.npz                  N samples, F frames, Q layers
      audio      float32 [N]    2 s of a synthetic voice, whole frames
      codes      int32 [F, Q]   of the audio
      distance   float32 [F, Q] from where each code was chosen to the nearest
                                place where another one would be; inf where it
                                is not known
      decoded    float32 [N]    of the codes
      layers     int32 [F]      how many of each frame's layers arrived
      concealed  float32 [N]    of the codes and the layers
      denoised   as codes or decoded, with denoising switched on, of models and
                 formats that can turn it

Arrays alone: reading runs no code.
"""

import dataclasses
import io
import pathlib

import numpy as np

from soundstream_jax import errors
from soundstream_jax.audio.synthetic import voices
from soundstream_jax.codec import codec as codec_lib
from soundstream_jax.model import soundstream

NAME = "golden.npz"
SECONDS = 2
_SEED = 24
_PEAK = 0.5
_SIDES = ("encoder", "decoder")
# Squared distance of two vectors, relative to the square of one, up to which
# they are the same, rounded.
_TWINS = 1e-10


@dataclasses.dataclass(frozen=True)
class Golden:
  """The arrays of the file, by their names there."""

  audio: np.ndarray
  codes: np.ndarray
  distance: np.ndarray
  decoded: np.ndarray
  layers: np.ndarray
  concealed: np.ndarray
  denoised: np.ndarray | None = None

  @property
  def hop_samples(self) -> int:
    return len(self.audio) // len(self.codes)


def sound(rate_hz: int, hop_samples: int, seconds: float) -> np.ndarray:
  """Returns a synthetic voice, float32 of whole frames, peak 0.5."""
  samples = -(-round(seconds * rate_hz) // hop_samples) * hop_samples
  rng = np.random.default_rng(_SEED)
  audio = voices.synthesize(rng, samples, rate_hz)
  return (audio * (_PEAK / np.abs(audio).max())).astype(np.float32)


def losses(frames: int, layers: int, seed: int = _SEED) -> np.ndarray:
  """Returns how many layers of each frame arrive, int32 [F]: a bad network's.

  Bursts are lost, longer ones than what is held; some frames lack layers.
  """
  rng = np.random.default_rng(seed)
  arrived = np.full(frames, layers, np.int32)
  at = 0
  while at < frames:
    kept = int(rng.integers(1, 25))
    kind, length = rng.random(), int(rng.integers(1, 16))
    some = int(rng.integers(1, layers + 1)) if kind < 0.4 else 0
    arrived[at + kept : at + kept + length] = some
    at += kept + length
  return arrived


def make(
  codec: codec_lib.Codec,
  audio: np.ndarray | None = None,
  *,
  fixed: bool | None = None,
) -> Golden:
  """Returns what a codec makes of a sound.

  Args:
    codec: of the model.
    audio: float32 [N], whole frames; None is `sound`.
    fixed: how the switch for denoising stands, for formats that cannot turn
      it; None is off, and `denoised` has what it does when on.
  """
  if audio is None:
    audio = sound(codec.sample_rate, codec.hop_samples, SECONDS)
  on = {side: bool(fixed) and codec.film == side for side in _SIDES}
  codes = codec.encode(audio, denoise=on["encoder"])
  layers = losses(*codes.shape)
  denoised = None
  if fixed is None and codec.film == "encoder":
    denoised = codec.encode(audio, denoise=True)
  elif fixed is None and codec.film == "decoder":
    denoised = codec.decode(codes, denoise=True)
  return Golden(
    audio=audio,
    codes=codes,
    distance=distances(codec, audio, codes, denoise=on["encoder"]),
    decoded=codec.decode(codes, denoise=on["decoder"]),
    layers=layers,
    concealed=codec.decode(codes, layers=layers, denoise=on["decoder"]),
    denoised=denoised,
  )


def distances(
  codec: codec_lib.Codec,
  audio: np.ndarray,
  codes: np.ndarray,
  *,
  denoise: bool = False,
) -> np.ndarray:
  """Returns how far residuals are from those that get another code, [F, Q].

  A residual r is nearest to e1; half way to another code e, on the plane where
  both are as near, lies (|r - e|^2 - |r - e1|^2) / (2 |e1 - e|) away. Rounding
  of a product and of norms moves that by 4 eps (|r|^2 + |e|^2) at most. Of a code
  with a twin, the same vector again, it is 0: rounding alone chooses. Of kinds
  that choose codes elsewhere than among residuals it is inf: not known.
  """
  if codec.config.quantizer.kind != "ema":
    return np.full(codes.shape, np.inf, np.float32)
  net = soundstream.from_config(codec.config)
  latents = net.apply(
    codec.variables,
    audio[None, :, None],
    denoise=np.full(1, denoise),
    method="encode",
  )
  residual = np.asarray(latents[0], np.float64)
  vectors = np.asarray(soundstream.vectors(codec.variables), np.float64)
  result = np.empty(codes.shape, np.float32)
  eps = np.finfo(np.float32).eps / 2
  for layer, book in enumerate(vectors):
    chosen = book[codes[:, layer]]
    norms = np.square(book).sum(-1)
    # |r - e|^2 less |r|^2, which all codes of a frame share.
    squared = norms - 2 * residual @ book.T
    own = np.take_along_axis(squared, codes[:, layer, None], axis=1)
    apart = norms + np.square(chosen).sum(-1)[:, None] - 2 * chosen @ book.T
    lost = 4 * eps * (np.square(residual).sum(-1)[:, None] + norms)
    # The code itself, and its twins, if any.
    twins = apart <= _TWINS * norms
    away = (squared - own - lost) / (2 * np.sqrt(np.where(twins, 1, apart)))
    result[:, layer] = np.min(away, axis=1, initial=np.inf, where=~twins)
    result[twins.sum(axis=1) > 1, layer] = 0
    residual = residual - chosen
  return result


def to_bytes(golden: Golden) -> bytes:
  arrays = {
    field.name: getattr(golden, field.name)
    for field in dataclasses.fields(golden)
    if getattr(golden, field.name) is not None
  }
  file = io.BytesIO()
  np.savez_compressed(file, **arrays)
  return file.getvalue()


def read(folder: pathlib.Path) -> Golden:
  """Reads the file of a folder.

  Raises:
    InputError: it is missing or damaged.
  """
  path = folder / NAME
  try:
    with np.load(path, allow_pickle=False) as arrays:
      return Golden(**{name: arrays[name] for name in arrays.files})
  except Exception as error:  # zip and npy files break in many ways
    raise errors.InputError(
      f"{path} cannot be read ({error}). Export the model again."
    ) from None
