"""Audio datasets that others prepared with TFDS, read without TensorFlow.

Any dataset in array_record with one `tfds.features.Audio` whose feature names
its sample rate (libritts, vctk, librispeech, ...). Audio is mixed down to one
channel and, where the rate is another, resampled as it is read: preparing the
dataset with data_pipelines.prepare costs that once.
"""

import contextlib
import dataclasses
import io as streams
import pathlib
import types
from collections.abc import Iterator, Mapping
from typing import Any
from unittest import mock

import numpy as np
import soundfile
import tensorflow_datasets as tfds
from tensorflow_datasets.core.features import audio_feature

from soundstream_jax import errors
from soundstream_jax.audio import resampling, waveform

# Of a speaker, an album, ..., in the datasets of the TFDS catalogue.
_GROUPS = ("speaker_id", "speaker", "user_id", "client_id", "id")
# Names of splits that TFDS's builders give to what we call by the key.
_SPLITS = {
  "train": ("train",),
  "validation": ("validation", "valid", "dev"),
  "test": ("test",),
}


class _Decoder:
  """In the place of TFDS's decoders, whose constructors load TensorFlow."""

  def __init__(self, file_format=None, np_dtype=None, shape=()):
    del file_format, np_dtype, shape

  def decode_audio(self, stored):
    return stored


# All that an Audio feature asks of TensorFlow when it is constructed.
_TYPES = types.SimpleNamespace(string=np.object_)


@contextlib.contextmanager
def without_tensorflow() -> Iterator[None]:
  """Lets TFDS construct Audio features; for `tfds.builder_from_directory`."""
  with (
    mock.patch.object(audio_feature, "_EagerDecoder", _Decoder),
    mock.patch.object(audio_feature, "_LazyDecoder", _Decoder),
    mock.patch.object(audio_feature, "tf", _TYPES),
  ):
    yield


class Files:
  """Stored examples of one split by number; a pickle of it opens them again."""

  def __init__(self, folder: str, split: str, decoded: bool = True):
    """Args: folder holds dataset_info.json; split as the dataset names it.

    Without `decoded` an example is what is stored, a serialised tf.Example.
    """
    self._opened_as = folder, split, decoded
    form = "DESERIALIZE_AND_DECODE" if decoded else "RAW_BYTES"
    with without_tensorflow():
      builder = tfds.builder_from_directory(folder)
      self._stored = builder.as_data_source(
        split, deserialize_method=tfds.decode.DeserializeMethod[form]
      )

  def __len__(self) -> int:
    return len(self._stored)

  def __getitem__(self, index: int) -> dict[str, Any] | bytes:
    return self._stored[index]

  def __reduce__(self):
    # What TFDS pickles constructs the features anew, and with them TensorFlow.
    return type(self), self._opened_as


@dataclasses.dataclass(frozen=True)
class Reader:
  """Turns what TFDS returns into records as `source.Source` gives them."""

  audio: str  # names of features
  group: str  # or ''
  rate_in_hz: int
  rate_out_hz: int

  def __call__(self, example: Mapping[str, Any]) -> dict[str, Any]:
    """Returns {audio: int16 [N], group: str, source: str}.

    Raises:
      ValueError: stored audio that cannot be decoded.
    """
    pcm, rate_hz = self._samples(example[self.audio])
    if pcm.ndim == 2:
      pcm = waveform.to_mono(waveform.to_float32(pcm))
      pcm = waveform.to_int16(pcm)
    if rate_hz != self.rate_out_hz:
      audio = waveform.to_float32(pcm)[:, None]
      audio = resampling.resample(audio, rate_hz, self.rate_out_hz)
      pcm = waveform.to_int16(audio[:, 0])
    return {
      "audio": pcm,
      "group": _text(example.get(self.group, "")),
      "source": _text(example.get("id", "")),
    }

  def _samples(self, stored) -> tuple[np.ndarray, int]:
    """Returns int16 [N] or [N, C] and its rate."""
    if isinstance(stored, bytes):  # the file itself, with lazy_decode
      try:
        return soundfile.read(streams.BytesIO(stored), dtype="int16")
      except soundfile.LibsndfileError as error:
        raise ValueError(str(error)) from None
    audio = np.asarray(stored)
    if np.issubdtype(audio.dtype, np.floating):
      return waveform.to_int16(audio), self.rate_in_hz
    # TFDS keeps the integers of the file: of 16 bits, or of up to 32.
    if audio.size and np.abs(audio).max() > 32_768:
      audio = audio >> 16
    return audio.astype(np.int16), self.rate_in_hz


def reader(
  folder: str, field: str, features: Mapping[str, Any], sample_rate_hz: int
) -> Reader | None:
  """Returns what reads a dataset of these features; None: it has no Audio.

  Raises:
    InputError: several Audio features, or one without a sample rate.
  """
  found = {
    name: feature
    for name, feature in features.items()
    if isinstance(feature, audio_feature.Audio)
  }
  if not found:
    return None
  if len(found) > 1:
    raise errors.InputError(
      f"{field}: {folder} has {len(found)} audio features "
      f"({', '.join(found)}). Export the one to train on as files, and prepare "
      "them with --dataset=audio_folder."
    )
  ((name, feature),) = found.items()
  if not feature.sample_rate:
    raise errors.InputError(
      f"{field}: {folder} does not say the sample rate of {name!r}. Add it as "
      '"sampleRate" to features.json, or prepare the audio again.'
    )
  group = next((g for g in _GROUPS if g in features), "")
  return Reader(name, group, feature.sample_rate, sample_rate_hz)


def splits(split: str, present: list[str]) -> list[str]:
  """Returns which of a dataset's splits ours is: 'train' is train_clean100."""
  return [
    name for name in present if name.startswith(_SPLITS.get(split, (split,)))
  ]


def check_format(field: str, info_file: pathlib.Path, file_format: str) -> None:
  """Refuses files that cannot be read in any order.

  Raises:
    InputError: with the command that converts them.
  """
  if file_format != "array_record":
    folder = info_file.parent
    raise errors.InputError(
      f"{field}: {folder} is stored as {file_format}, which cannot be read in "
      "random order. Convert it where TensorFlow is installed: tfds "
      f"convert_format --dataset_version_dir={folder} "
      f"--out_file_format=array_record --out_dir={folder}-array_record"
    )


def _text(value: Any) -> str:
  return (
    value.decode("utf-8", "replace")
    if isinstance(value, bytes)
    else (str(value))
  )
