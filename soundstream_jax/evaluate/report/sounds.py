"""Clips to be heard: the original, ours and others, with their spectrograms."""

import base64
import dataclasses
import io
import pathlib

import numpy as np

from soundstream_jax import errors
from soundstream_jax.audio import spectral
from soundstream_jax.evaluate.report import (
  evaluation,
  finding,
  gathering,
  markup,
  rates,
  wording,
)

FOLDER = "sounds"  # of an evaluation
ORIGINAL = "original.wav"
_WINDOW, _HOP, _BINS = 1024, 256, 96
_RANGE_DB = 80.0


@dataclasses.dataclass(frozen=True)
class Version:
  """One sound of a clip."""

  label: str
  note: str
  path: pathlib.Path


@dataclasses.dataclass(frozen=True)
class Clip:
  """The versions of a clip, the most telling first; the first is original."""

  name: str
  kind: str
  versions: list[Version]


@dataclasses.dataclass(frozen=True)
class _Sound:
  """A version as it stands in the page."""

  flac: str  # base64
  picture: str  # PNG, base64
  seconds: float
  top_db: float  # where the scale of the picture's colours ends


def clips(group: gathering.Group) -> list[Clip]:
  """Returns the clips of a group of which there are sounds."""
  folders: dict[str, list[tuple[evaluation.Evaluation, pathlib.Path]]] = {}
  for each in group.evaluations:
    place = each.folder / FOLDER
    if place.is_dir():
      with errors.reading(str(place)):
        for folder in sorted(place.iterdir()):
          if folder.is_dir():
            folders.setdefault(folder.name, []).append((each, folder))
  order = finding.metric_order(group)
  found = []
  for name, places in folders.items():
    original = next(
      (f / ORIGINAL for _, f in places if (f / ORIGINAL).is_file()), None
    )
    versions = _versions(group, name, places, order)
    if original is not None and versions:
      first = Version("Original", "", original)
      kind = _kind(group, name)
      found.append(Clip(name, kind, [first, *versions]))
  kinds = evaluation.ordered({clip.kind for clip in found})
  return sorted(found, key=lambda clip: kinds.index(clip.kind))


def _versions(group, name, places, order) -> list[Version]:
  """Returns what systems make of a clip: ours and others in turn."""
  ours, others = [], []
  heard = set()
  for each, folder in places:
    for system in each.systems:
      path = folder / f"{system.key}.wav"
      mine = system.system == evaluation.MODEL
      if not path.is_file() or (not mine and system.key in heard):
        continue
      heard.add(system.key)
      label = rates.system_name(group, (each, system))
      note = _note(each, system, name, order)
      (ours if mine else others).append(
        (system.payload_bps or 0.0, Version(label, note, path))
      )
  ours.sort(key=lambda pair: -pair[0])
  mixed = []
  for i in range(max(len(ours), len(others))):
    mixed += [side[i][1] for side in (ours, others) if i < len(side)]
  return mixed


def _note(each, system, clip: str, order) -> str:
  """Returns a clip's own score by the first metric that it has."""
  for measure in order:
    value = each.measured.get((system.key, measure.name), {}).get(clip)
    if value is not None:
      return f"{wording.number(value, measure.decimals)} {measure.heading}"
  return ""


def _kind(group: gathering.Group, folder: str) -> str:
  for each in group.evaluations:
    kinds = dict(zip(each.clip_names, each.clip_classes, strict=False))
    if folder in kinds:
      return kinds[folder]
  return evaluation.ALL


def players(
  found: list[Clip], *, name: str, budget: int
) -> tuple[markup.Html, int, int]:
  """Returns players of clips whose sounds fit, their bytes, and what is left.

  Args:
    found: of `clips`.
    name: begins the names of the page's elements.
    budget: bytes of the page that they may take.

  Returns:
    The players, the bytes they take, and how many sounds were left out.
  """
  titles = {clip.name: f"{name}-{i}" for i, clip in enumerate(found)}
  originals: dict[str, _Sound] = {}
  tracks: dict[str, list[markup.Html]] = {clip.name: [] for clip in found}
  used = left_out = 0
  # The first versions of every clip before the second ones.
  queue = [
    (order, clip, version)
    for clip in found
    for order, version in enumerate(clip.versions)
  ]
  for order, clip, version in sorted(queue, key=lambda item: item[0]):
    original, title = originals.get(clip.name), titles[clip.name]
    if order and original is None:
      left_out += 1
      continue
    # The original's loudest bin ends the scale of all.
    top_db = original.top_db if original else None
    sound = _read(version, most=budget - used, top_db=top_db)
    if sound is not None:
      number = len(tracks[clip.name])
      track = _track(version, sound, f"{title}-version", number)
      needed = len(track.encode())
      if not order:
        needed += len(_player(clip, sound, [], title).encode())
    if sound is None or used + needed > budget:
      left_out += 1
      continue
    used += needed
    originals.setdefault(clip.name, sound)
    tracks[clip.name].append(track)
  shown = []
  for clip in found:
    if len(tracks[clip.name]) > 1:
      title, sound = titles[clip.name], originals[clip.name]
      shown.append(_player(clip, sound, tracks[clip.name], title))
    else:
      left_out += len(tracks[clip.name])
  return markup.join(shown), used, left_out


def _read(
  version: Version, *, most: int, top_db: float | None
) -> _Sound | None:
  """Returns a sound in the page's form; None: it is larger than `most`."""
  import soundfile

  with errors.reading(str(version.path)):
    if version.path.stat().st_size > 4 * max(most, 0):
      return None  # FLAC halves a file, more or less; why try
    data = version.path.read_bytes()
  try:
    samples, rate = soundfile.read(io.BytesIO(data), dtype="int16")
  except soundfile.LibsndfileError as error:
    raise errors.InputError(
      f"{version.path} is no sound ({error}). Run evaluate again."
    ) from error
  file = io.BytesIO()
  soundfile.write(file, samples, rate, format="FLAC", subtype="PCM_16")
  sound = base64.b64encode(file.getvalue()).decode()
  mono = samples if samples.ndim == 1 else samples[:, 0]
  drawn = _decibels(mono, rate)
  top_db = float(drawn.max()) if top_db is None else top_db
  picture = base64.b64encode(_picture(drawn, top_db)).decode()
  return _Sound(sound, picture, len(mono) / rate, top_db)


def _decibels(samples: np.ndarray, sample_rate_hz: int) -> np.ndarray:
  """Returns the log-mel spectrogram [N, bins] of int16 [T]."""
  audio = samples.astype(np.float32)[None] / 32768
  mel = spectral.log_mel(
    audio, sample_rate_hz=sample_rate_hz, window=_WINDOW, hop=_HOP, bins=_BINS
  )
  return 20 / np.log(10) * np.asarray(mel)[0]


def _picture(decibels: np.ndarray, top_db: float) -> bytes:
  """Returns a spectrogram [N, bins] as PNG, in 64 shades over 80 dB."""
  import matplotlib
  from PIL import Image

  shade = np.clip((decibels - top_db + _RANGE_DB) / _RANGE_DB, 0, 1)
  levels = np.round(63 * shade.T[::-1]).astype(np.uint8)
  picture = Image.fromarray(levels, mode="P")
  colours = matplotlib.colormaps["magma"](np.arange(64) / 63)[:, :3]
  picture.putpalette(np.round(255 * colours).astype(np.uint8).tobytes())
  file = io.BytesIO()
  picture.save(file, "PNG", optimize=True)
  return file.getvalue()


def _player(
  clip: Clip, original: _Sound, tracks: list[markup.Html], name: str
) -> markup.Html:
  """Returns a clip's versions; the page's script joins them to one player."""
  kind = [] if clip.kind == evaluation.ALL else [clip.kind]
  aside = " · ".join([*kind, f"{original.seconds:.1f} s"])
  title = markup.tag(
    "h4", clip.name, markup.tag("span", aside, class_="aside"), id=name
  )
  return markup.tag(
    "section",
    title,
    markup.tag(
      "div",
      *tracks,
      class_="tracks",
      role="radiogroup",
      aria_label=f"Versions of {clip.name}",
    ),
    class_="player",
    aria_labelledby=name,
  )


def _track(
  version: Version, sound: _Sound, group: str, number: int
) -> markup.Html:
  """Returns a version; `group` names the choice among a clip's."""
  return markup.tag(
    "div",
    markup.tag(
      "label",
      markup.tag(
        "span",
        markup.tag(
          "img",
          src=markup.Html(f"data:image/png;base64,{sound.picture}"),
          alt=f"Spectrogram: {version.label}",
        ),
        class_="picture",
      ),
      markup.tag(
        "span",
        markup.tag(
          "input",
          type="radio",
          name=group,
          value=number,
          checked=number == 0,
        ),
        markup.tag("span", version.label, class_="name"),
        markup.tag("kbd", str((number + 1) % 10)) if number < 10 else "",
        class_="choice",
      ),
      markup.tag("span", version.note, class_="note") if version.note else "",
    ),
    markup.tag(
      "audio",
      controls=True,
      preload="none",
      src=markup.Html(f"data:audio/flac;base64,{sound.flac}"),
      aria_label=version.label,
    ),
    class_="track",
  )
