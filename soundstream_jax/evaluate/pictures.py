"""Pictures of a run: loss curves, spectrograms before and after."""

import importlib.util
import pathlib
import sys
from collections.abc import Mapping, Sequence

import numpy as np

from soundstream_jax import console, metrics, whole_files
from soundstream_jax.audio import spectral
from soundstream_jax.evaluate import logs


def _panels() -> list[tuple[str, bool, tuple[str, ...]]]:
  """Returns the curves in one picture: title, logarithmic, logged names."""
  first, *others = (
    (
      f"held-out {metric.title} {metric.unit}".rstrip(),
      False,
      (f"eval/{name}",),
    )
    for name, metric in metrics.while_training().items()
  )
  return [
    ("spectral reconstruction loss", True, ("loss/reconstruction",)),
    first,
    (
      "adversarial losses",
      False,
      ("loss/discriminator", "loss/adversarial", "loss/feature"),
    ),
    ("codebook perplexity per layer", False, ("codebook/perplexity/",)),
    *others,
  ]


def curves(metrics_file: pathlib.Path, path: pathlib.Path) -> None:
  """Draws the curves that training logged."""
  plt = _pyplot()
  logged = logs.read(metrics_file)
  panels = _panels()
  high = -(-len(panels) // 2)
  figure, axes = plt.subplots(
    high, 2, figsize=(12, 4 * high), layout="constrained"
  )
  for axis in axes.flat[len(panels) :]:
    axis.remove()
  for axis, (title, logarithmic, names) in zip(axes.flat, panels, strict=False):
    for name in names:
      keys = sorted(
        {k for values in logged for k in values if k.startswith(name)}
      )
      for i, key in enumerate(keys):
        points = {v["step"]: v[key] for v in logged if key in v}
        points = {s: v for s, v in sorted(points.items()) if v is not None}
        every = 4 if len(keys) > 4 else 1  # label: of many lines some
        axis.plot(
          list(points),
          list(points.values()),
          marker="o" if len(points) < 30 else None,
          color=plt.cm.viridis(i / len(keys)) if len(keys) > 1 else None,
          label=key.rsplit("/", 1)[-1] if i % every == 0 else None,
        )
    axis.set(title=title, xlabel="step")
    axis.grid(alpha=0.3)
    if logarithmic:
      axis.set_yscale("log")
    if axis.get_legend_handles_labels()[0]:
      axis.legend(fontsize="small")
  _save(figure, path, dpi=90)
  plt.close(figure)


def spectrograms(
  named: Mapping[str, tuple[np.ndarray, np.ndarray]],
  path: pathlib.Path,
  *,
  bitrate_bps: float,
  sample_rate_hz: int,
) -> None:
  """Draws clips above their reconstructions, one column a clip.

  Args:
    named: name -> (original [T], decoded [T]).
    path: of the picture.
    bitrate_bps: of what is decoded.
    sample_rate_hz: of the clips.
  """
  plt = _pyplot()
  figure, axes = plt.subplots(
    2,
    len(named),
    figsize=(5 * len(named), 7),
    layout="constrained",
    squeeze=False,
  )
  titles = ("original", f"decoded, {bitrate_bps:.0f} bit/s")
  for column, (name, audio) in enumerate(named.items()):
    _column(
      axes[:, column],
      audio,
      [f"{name}: {title}" for title in titles],
      sample_rate_hz,
    )
  _save(figure, path, dpi=80)
  plt.close(figure)


def signals(
  named: Mapping[str, np.ndarray],
  path: pathlib.Path,
  *,
  sample_rate_hz: int,
  most: int = 3,
) -> None:
  """Draws the first clips of several signals [N, T, 1], one row a signal."""
  plt = _pyplot()
  count = min(most, *map(len, named.values()))
  figure, axes = plt.subplots(
    len(named),
    count,
    figsize=(5 * count, 3 * len(named)),
    layout="constrained",
    squeeze=False,
  )
  for clip in range(count):
    _column(
      axes[:, clip],
      [audio[clip, :, 0] for audio in named.values()],
      list(named),
      sample_rate_hz,
    )
  _save(figure, path, dpi=80)
  plt.close(figure)


def losses(
  named: Mapping[str, np.ndarray],
  *,
  lost: np.ndarray,
  frame_s: float,
  distance: np.ndarray,
  distance_s: float,
  path: pathlib.Path,
  sample_rate_hz: int,
) -> None:
  """Draws signals [T] above their distance, with lost frames marked.

  Args:
    lost: bool [F], of frames of `frame_s` seconds.
    distance: [M], one per `distance_s` seconds.
  """
  plt = _pyplot()
  rows = 2 * len(named) + 1
  figure, axes = plt.subplots(
    rows, 1, figsize=(12, 2 * rows), layout="constrained"
  )
  for axis, (name, audio) in zip(axes, named.items(), strict=False):
    time = np.arange(len(audio)) / sample_rate_hz
    axis.plot(time, audio, linewidth=0.5)
    axis.set(title=f"{name}, waveform", xlim=(0, time[-1]))
  pictures = axes[len(named) : 2 * len(named)]
  _column(pictures, list(named.values()), list(named), sample_rate_hz)
  time = np.arange(len(distance)) * distance_s
  axes[-1].plot(time, distance)
  axes[-1].set(
    title="log-mel distance, nepers", xlim=(0, time[-1]), xlabel="seconds"
  )
  for axis in (*axes[: len(named)], axes[-1]):
    for frame in np.flatnonzero(lost):
      axis.axvspan(
        frame * frame_s, (frame + 1) * frame_s, color="red", alpha=0.2, lw=0
      )
  _save(figure, path, dpi=80)
  plt.close(figure)


def _column(
  axes, audio: Sequence[np.ndarray], titles: Sequence[str], sample_rate_hz: int
) -> None:
  """Draws log-mel spectrograms of [T] on one scale of colours, 80 dB wide."""
  drawn = [
    20
    / np.log(10)
    * np.asarray(
      spectral.log_mel(
        samples[None],
        sample_rate_hz=sample_rate_hz,
        window=1024,
        hop=256,
        bins=64,
      )
    )[0]
    for samples in audio
  ]
  top = max(picture.max() for picture in drawn)
  for axis, samples, picture, title in zip(
    axes, audio, drawn, titles, strict=True
  ):
    axis.imshow(
      picture.T,
      origin="lower",
      aspect="auto",
      extent=(0, len(samples) / sample_rate_hz, 0, 64),
      vmin=top - 80,
      vmax=top,
      cmap="magma",
    )
    # A name may hold signs that would be read as mathematics.
    axis.set_title(console.shown(title), parse_math=False)
    axis.set(xlabel="seconds", ylabel="mel bin")


def possible() -> bool:
  """Says whether matplotlib is there; a line on stderr says so if it is not."""
  if importlib.util.find_spec("matplotlib"):
    return True
  print(
    "pictures are left out: pip install 'soundstream_jax[plots]' draws them.",
    file=sys.stderr,
  )
  return False


def _save(figure, path: pathlib.Path, *, dpi: int) -> None:
  with whole_files.written(path) as partial:
    figure.savefig(partial, dpi=dpi, format="png")


def _pyplot():
  import matplotlib

  matplotlib.use("agg")
  from matplotlib import pyplot

  return pyplot
