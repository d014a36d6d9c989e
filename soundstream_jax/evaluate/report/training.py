"""Curves of training, of the runs that have a log."""

import dataclasses

import numpy as np

from soundstream_jax import errors
from soundstream_jax.evaluate import logs
from soundstream_jax.evaluate.report import (
  drawing,
  evaluation,
  gathering,
  markup,
  wording,
)

_MOST_POINTS = 240
_MOST_PANELS = 9
_PERPLEXITY = "codebook/perplexity/"
_TITLES = {
  "loss/reconstruction": "Reconstruction loss",
  "loss/discriminator": "Discriminators’ loss",
  "loss/adversarial": "Adversarial loss",
  "loss/feature": "Feature loss",
  _PERPLEXITY: "Perplexity of codebooks, mean over layers",
}
# Of histograms and layers, which have a place of their own.
_NO_PANEL = ("eval/perplexity", "eval/codes")


@dataclasses.dataclass(frozen=True)
class Curve:
  """Values of a run over steps."""

  steps: np.ndarray
  values: np.ndarray


def section(
  runs: list[gathering.Run],
  metrics: dict[str, evaluation.Measure],
  *,
  name: str,
) -> markup.Html | None:
  """Returns plots with a series a run; None: nothing was logged.

  Args:
    runs: with a log.
    metrics: how metrics of held-out clips are called.
    name: begins the names of the page's elements.
  """
  logged = []
  for run in runs:
    with errors.reading(str(run.log)):
      logged.append(_by_name(logs.read(run.log)))
  # A loss that a run has not is logged as zeros.
  names = [
    name
    for name in _TITLES
    if any(name in curves and curves[name].values.any() for curves in logged)
  ]
  names += sorted(
    {
      n
      for curves in logged
      for n in curves
      # The mean of all layers; depths and quartiles are in the log.
      if n.count("/") == 1
      and n.startswith("eval/")
      and not n.startswith(_NO_PANEL)
    }
  )
  if not names:
    return None
  panels = [
    _panel(which, [c.get(which) for c in logged], runs, metrics, f"{name}-{i}")
    for i, which in enumerate(names[:_MOST_PANELS])
  ]
  rest = names[_MOST_PANELS:]
  looks = [(drawing.Look(i), run.label) for i, run in enumerate(runs)]
  more = f"; {wording.count(len(rest), 'more value')} there" if rest else ""
  return markup.join(
    [
      markup.tag(
        "div",
        drawing.legend(looks, name=name),
        markup.tag("div", *panels, class_="panels"),
        class_="plots",
      ),
      markup.folded(
        f"Last values as a table{more}", _table(runs, logged, names, metrics)
      ),
    ]
  )


def _by_name(lines) -> dict[str, Curve]:
  """Returns name -> curve of what one log holds, layers as their mean."""
  found: dict[str, dict[float, float]] = {}
  for line in lines:
    step = evaluation.finite(line.get("step"))
    if step is None:
      continue
    layers = []
    for key, logged in line.items():
      value = evaluation.finite(logged)
      if value is None:
        continue
      if key.startswith(_PERPLEXITY):
        layers.append(value)
      elif key.startswith(("loss/", "eval/")):
        found.setdefault(key, {})[step] = value
    if layers:
      found.setdefault(_PERPLEXITY, {})[step] = float(np.mean(layers))
  return {name: _thinned(values) for name, values in found.items()}


def _thinned(values: dict[float, float]) -> Curve:
  """Returns a curve of not too many points: means of neighbours."""
  pairs = np.array(sorted(values.items()))
  pieces = np.array_split(pairs, min(len(pairs), _MOST_POINTS))
  means = np.array([[piece[-1, 0], piece[:, 1].mean()] for piece in pieces])
  return Curve(means[:, 0], means[:, 1])


def _title(name: str, metrics: dict[str, evaluation.Measure]) -> str:
  metric, _, rest = name.removeprefix("eval/").partition("/")
  if name.startswith("eval/") and metric in metrics:
    return f"Held-out {metrics[metric].heading} {rest}".rstrip()
  return _TITLES.get(name, name)


def _panel(which, curves, runs, metrics, name: str) -> markup.Html:
  title = _title(which, metrics)

  def draw(axes) -> None:
    for i, curve in enumerate(curves):
      if curve is not None:
        look = drawing.Look(i).style() | {"linewidth": 1.6}
        few = len(curve.steps) < 25
        axes.plot(
          curve.steps,
          curve.values,
          **look | {"marker": look["marker"] if few else None, "markersize": 4},
        )
    if which == "loss/reconstruction":
      drawing.logarithmic(axes)
    axes.set_xlabel("step")

  ends = [
    f"{run.label} ends at {curve.values[-1]:.4g}"
    for run, curve in zip(runs, curves, strict=True)
    if curve is not None
  ]
  plot = drawing.svg(
    draw, name=name, label=f"{title} over training steps. {'; '.join(ends)}."
  )
  return markup.tag(
    "figure", markup.tag("figcaption", markup.tag("b", title)), plot
  )


def _table(runs, logged, names, metrics) -> markup.Html:
  rows = [
    [
      _title(name, metrics),
      *(
        f"{curves[name].values[-1]:.4g}" if name in curves else wording.ABSENT
        for curves in logged
      ),
    ]
    for name in names
  ]
  return markup.table(
    ["", *(run.label for run in runs)], rows, caption="Last logged values"
  )
