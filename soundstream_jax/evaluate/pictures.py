"""Pictures of a run: loss curves, spectrograms before and after."""

import json
import pathlib
from collections.abc import Sequence

import numpy as np

from soundstream_jax import errors
from soundstream_jax.audio import spectral
from soundstream_jax.evaluate import evaluator

# Curves in one picture: title, logarithmic, metrics.
_PANELS = (
  ("spectral reconstruction loss", True, ("loss/reconstruction",)),
  ("held-out log-mel distance", False, ("eval/log_mel",)),
  (
    "adversarial losses",
    False,
    ("loss/discriminator", "loss/adversarial", "loss/feature"),
  ),
  ("codebook perplexity per layer", False, ("codebook/perplexity/",)),
)


def curves(metrics_file: pathlib.Path, path: pathlib.Path) -> None:
  """Draws what training logged.

  Raises:
    InputError: matplotlib is not installed.
  """
  plt = _pyplot()
  rows = [json.loads(line) for line in metrics_file.read_text().splitlines()]
  figure, axes = plt.subplots(2, 2, figsize=(12, 8), layout="constrained")
  for axis, (title, logarithmic, names) in zip(axes.flat, _PANELS, strict=True):
    for name in names:
      keys = sorted({k for row in rows for k in row if k.startswith(name)})
      for i, key in enumerate(keys):
        points = {row["step"]: row[key] for row in rows if key in row}
        points = {s: v for s, v in sorted(points.items()) if v is not None}
        many = len(keys) > 1
        axis.plot(
          list(points),
          list(points.values()),
          marker="o" if len(points) < 30 else None,
          color=plt.cm.viridis(i / len(keys)) if many else None,
          label=key.rsplit("/", 1)[-1] if not many or i % 4 == 0 else None,
        )
    axis.set(title=title, xlabel="step")
    axis.grid(alpha=0.3)
    if logarithmic:
      axis.set_yscale("log")
    if axis.get_legend_handles_labels()[0]:
      axis.legend(fontsize="small")
  figure.savefig(path, dpi=90)
  plt.close(figure)


def spectrograms(
  result: evaluator.Evaluation,
  names: Sequence[str],
  path: pathlib.Path,
  *,
  sample_rate_hz: int,
  most: int = 3,
) -> None:
  """Draws held-out clips above their reconstructions, one column a source.

  Raises:
    InputError: matplotlib is not installed.
  """
  plt = _pyplot()
  sources = result.clips.source_index
  shown = [sources.index(source) for source in dict.fromkeys(sources)][:most]
  figure, axes = plt.subplots(
    2,
    len(shown),
    figsize=(5 * len(shown), 7),
    layout="constrained",
    squeeze=False,
  )
  for column, clip in enumerate(shown):
    seconds = result.clips.audio.shape[1] / sample_rate_hz
    pictures = [
      20
      / np.log(10)
      * np.asarray(
        spectral.log_mel(
          audio[None, :, 0],
          sample_rate_hz=sample_rate_hz,
          window=1024,
          hop=256,
          bins=64,
        )
      )[0]
      for audio in (result.clips.audio[clip], result.outputs[clip])
    ]
    top = max(picture.max() for picture in pictures)
    for row, (picture, what) in enumerate(
      zip(pictures, ("original", "decoded"), strict=True)
    ):
      axes[row, column].imshow(
        picture.T,
        origin="lower",
        aspect="auto",
        extent=(0, seconds, 0, 64),
        vmin=top - 80,
        vmax=top,
        cmap="magma",
      )
      rate = result.rates[-1].bitrate_bps
      suffix = f", {rate:.0f} bit/s" if row else ""
      axes[row, column].set(
        title=f"{names[clip]}: {what}{suffix}",
        xlabel="seconds",
        ylabel="mel bin",
      )
  figure.savefig(path, dpi=80)
  plt.close(figure)


def _pyplot():
  try:
    import matplotlib
  except ImportError:
    raise errors.InputError(
      "pictures need matplotlib. Install the extra: "
      "pip install 'soundstream_jax[plots]'."
    ) from None
  matplotlib.use("agg")
  from matplotlib import pyplot

  return pyplot
