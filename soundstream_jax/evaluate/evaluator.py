"""Measures a model and what it is compared with, clip by clip.

The model codes and decodes here, other systems and all metrics are at work in
`pool`. What is measured lands in `store` at once, and is not measured again.
"""

import contextlib
import dataclasses
import os
import pathlib
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from soundstream_jax import errors, metrics
from soundstream_jax.audio import wav
from soundstream_jax.codec import codec as codec_lib
from soundstream_jax.evaluate.measuring import (
  clip_set,
  controls,
  pool,
  progress,
  store,
  tasks,
)
from soundstream_jax.evaluate.measuring import model as model_lib
from soundstream_jax.evaluate.systems import system as system_lib

SOUNDS = "sounds"
# Systems whose numbers are the criteria's, and nobody's else.
SWAPPED, NOISE = "control@swapped_codes", "control@stationary_noise"

Lines = dict[tuple[str, str], store.Line]


@dataclasses.dataclass(frozen=True)
class Ask:
  """What is to be measured.

  Attributes:
    metrics: name -> metric.
    depths: numbers of layers, ascending; none measures no model.
    baselines: other systems, on the same clips.
    sounds: clips of each class whose sound is kept.
    workers: processes; 0 measures in this one.
    own_metrics: path of a user's metrics; ''.
  """

  metrics: Mapping[str, metrics.Metric]
  depths: Sequence[int] = ()
  baselines: Sequence[system_lib.System] = ()
  sounds: int = 0
  workers: int = 0
  own_metrics: str = ""


@dataclasses.dataclass(frozen=True)
class Evaluation:
  """Measurements of systems on clips.

  Attributes:
    model: with its codes.
    clips: that were measured.
    metrics: name -> metric.
    systems: of the model, then the baselines.
    depths: of the systems that are the model.
    lines: (key of a system, name of a clip) -> its numbers; of the controls
      too, where they were measured.
  """

  model: model_lib.Model
  clips: clip_set.ClipSet
  metrics: Mapping[str, metrics.Metric]
  systems: Sequence[system_lib.System]
  depths: Sequence[int]
  lines: Lines

  def values(self, key: str, name: str) -> np.ndarray | None:
    """Returns a metric of each clip, float64 [N], NaN where there is none.

    None where the system was not measured.
    """
    if not any((key, clip.name) in self.lines for clip in self.clips.clips):
      return None
    found = [
      self.lines[key, clip.name].values.get(name) for clip in self.clips.clips
    ]
    return np.array([np.nan if v is None else v for v in found], np.float64)


def depths(
  codec: codec_lib.Codec, bitrates_bps: Sequence[float] | None
) -> list[int]:
  """Returns the numbers of quantizers that make the bitrates, ascending.

  Args:
    codec: the model.
    bitrates_bps: None takes the highest and its half.

  Raises:
    InputError: a bitrate that the model cannot make.
  """
  if bitrates_bps is not None:
    return sorted({codec.quantizers_for(bps) for bps in bitrates_bps})
  return sorted({max(1, codec.num_quantizers // 2), codec.num_quantizers})


def evaluate(
  model: model_lib.Model,
  clips: clip_set.ClipSet,
  ask: Ask,
  *,
  out: pathlib.Path | None = None,
  spectrum: controls.Spectrum | None = None,
) -> Evaluation:
  """Measures what is not measured yet.

  Args:
    model: with codes of the clips.
    clips: to measure on.
    ask: what.
    out: folder of the results, which is this process's; None keeps nothing.
    spectrum: of the training data, for the noise control; None: without it.

  Raises:
    InputError: a clip or a metric's file has changed.
    DiskError: the disk cannot be written to.
  """
  work = _Work(model, clips, ask, out, spectrum)
  todo = list(work.todo())
  shown = progress.Progress(len(todo), noun="measurements")
  results = pool.perform(
    work.with_sound(todo),
    workers=min(ask.workers, len(todo)),
    own_metrics=ask.own_metrics,
  )
  with contextlib.closing(results):
    for result in results:
      work.take(result)
      shown.add()
  return Evaluation(
    model=model,
    clips=clips,
    metrics=ask.metrics,
    systems=work.systems,
    depths=ask.depths,
    lines=work.lines,
  )


@dataclasses.dataclass(frozen=True)
class _Todo:
  """A system and a clip that are not measured, or not by all metrics."""

  key: str
  clip: int
  metrics: tuple[str, ...]
  sound: str
  system: system_lib.System | None = None  # of a baseline
  depth: int = 0  # of the model


class _Work:
  def __init__(self, model, clips, ask: Ask, out, spectrum):
    self._model, self._clips, self._ask = model, clips, ask
    self._out, self._spectrum = out, spectrum
    self._store = store.Store(out)
    self._versions = {name: m.version() for name, m in ask.metrics.items()}
    self._kept = set(clips.first_of_each_class(ask.sounds))
    self._index = {clip.name: i for i, clip in enumerate(clips.clips)}
    self._subjects: dict[tuple[str, str], str] = {}
    self._depths = {model.system(depth).key: depth for depth in ask.depths}
    self.systems = [model.system(d) for d in ask.depths] + list(ask.baselines)
    self._partners = controls.partners([c.source for c in clips.clips])
    self.lines: Lines = {}

  def todo(self) -> Iterator[_Todo]:
    """Yields what is to be done; what is done already goes to `lines`."""
    # Others first: they are coded and measured while the model decodes.
    for i, clip in enumerate(self._clips.clips):
      for system in self._ask.baselines:
        yield from self._lacking(system, i)
      for depth in self._ask.depths:
        yield from self._lacking(self._model.system(depth), i, depth=depth)
      if self._ask.depths and metrics.CRITERION in self._ask.metrics:
        yield from self._controls(i, clip)

  def _controls(self, i: int, clip: clip_set.Clip) -> Iterator[_Todo]:
    depth = self._ask.depths[-1]
    partner = self._clips.clips[self._partners[i]]
    best = self._model.system(depth)
    swapped = f"{best.key}, {best.version}, codes of {partner.digest}"
    if len(self._clips.clips) > 1:
      yield from self._control(SWAPPED, swapped, i, depth=depth)
    if self._spectrum is not None:
      noise = f"{self._spectrum.digest} of clip {i}"
      yield from self._control(NOISE, noise, i)

  def _control(self, key, version, i: int, *, depth: int = 0):
    name, _, setting = key.partition("@")
    system = system_lib.System(name, setting, setting, None, version)
    yield from self._lacking(system, i, depth=depth, only=metrics.CRITERION)

  def _lacking(self, system, i: int, *, depth: int = 0, only: str = ""):
    """Yields what there is to do for a system and a clip, or nothing."""
    clip, key = self._clips.clips[i], system.key
    wanted = self._wanted(clip, only)
    subject = store.subject(f"{key} {system.version}", clip.digest)
    self._subjects[key, clip.name] = subject
    line = self._store.find(key, clip.name, subject)
    lacking = list(wanted) if line is None else line.lacks(wanted)
    if line is not None:
      counted = self._with_bits(line, i)
      if counted != line:
        self._store.add(counted)
      self.lines[key, clip.name] = counted.only(wanted)
    sound = "" if only else self._sound(clip, key, new=line is None)
    if line is None or lacking or sound:
      yield _Todo(
        key,
        i,
        metrics=tuple(lacking),
        sound=sound,
        system=None if depth or only else system,
        depth=depth,
      )

  def _wanted(self, clip: clip_set.Clip, only: str = "") -> dict[str, str]:
    """Returns the metrics that are for a clip, with their versions."""
    return {
      name: self._versions[name]
      for name, metric in self._ask.metrics.items()
      if metric.is_for(clip.kind) and only in ("", name)
    }

  def _with_bits(self, line: store.Line, i: int) -> store.Line:
    """Returns a line of the model with its bits, which other clips decide."""
    depth = self._depths.get(line.key)
    if depth is None:
      return line
    entropy = self._model.entropy_bits[i]
    return dataclasses.replace(
      line,
      payload_bits=int(self._model.payload_bits[i][depth - 1]),
      entropy_bits=None if entropy is None else int(entropy[depth - 1]),
    )

  def _sound(self, clip: clip_set.Clip, key: str, *, new: bool) -> str:
    """Returns where a system's sound is to be written; '' nowhere."""
    if self._out is None:
      return ""
    path = self._out / SOUNDS / clip.name / f"{key}.wav"
    if clip.name in self._kept:
      return os.fspath(path) if new or not path.exists() else ""
    if new:  # what is there is of another model, and nobody would say so
      with contextlib.suppress(OSError):
        path.unlink()
    return ""

  def with_sound(self, todo: Sequence[_Todo]) -> Iterator[tasks.Task]:
    """Yields tasks, with the sound that they are about."""
    loaded, reference = -1, None
    for item in todo:
      clip = self._clips.clips[item.clip]
      if item.clip != loaded:
        loaded, reference = item.clip, clip.load()
        self._write_original(clip, reference)
      yield tasks.Task(
        key=item.key,
        clip=clip.name,
        reference=reference,
        sample_rate_hz=self._clips.sample_rate_hz,
        metrics=item.metrics,
        system=item.system,
        output=None if item.system else self._output(item, clip),
        sound=item.sound,
      )

  def _output(self, item: _Todo, clip: clip_set.Clip) -> np.ndarray:
    if item.key == NOISE:
      return self._spectrum.noise(clip.samples, seed=item.clip)
    of = self._partners[item.clip] if item.key == SWAPPED else item.clip
    frames = len(self._model.codes[item.clip])
    return self._model.decode(of, item.depth, frames=frames)

  def _write_original(self, clip: clip_set.Clip, audio: np.ndarray) -> None:
    if self._out is None or clip.name not in self._kept:
      return
    path = self._out / SOUNDS / clip.name / "original.wav"
    with errors.writing(path.name, path.parent):
      path.parent.mkdir(parents=True, exist_ok=True)
    wav.write(path, audio, self._clips.sample_rate_hz)

  def take(self, result: tasks.Result) -> None:
    """Keeps a result, and brings it to the disk."""
    i = self._index[result.clip]
    clip, name = self._clips.clips[i], (result.key, result.clip)
    line = self._store.find(*name, self._subjects[name]) or store.Line(
      key=result.key,
      clip=result.clip,
      kind=clip.kind,
      seconds=clip.samples / self._clips.sample_rate_hz,
      subject=self._subjects[name],
    )
    line = self._with_bits(line.with_result(result, self._versions), i)
    if not result.failed:
      self._store.add(line)
    self.lines[name] = line.only(self._wanted(clip))
