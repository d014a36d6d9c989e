"""How each quantizer layer's codebook is used."""

from soundstream_jax.evaluate.report import (
  drawing,
  evaluation,
  markup,
  wording,
)

_QUANTITIES = (
  ("perplexity", "Perplexity", 1),
  ("entropy_bits", "Entropy, bits", 2),
  ("dead_fraction", "Share of codes never used", 3),
)


def section(
  evaluations: list[evaluation.Evaluation], *, name: str
) -> markup.Html | None:
  """Returns plots over layers, a series a model; None: nothing was written."""
  shown = [each for each in evaluations if each.codebooks and each.models]
  panels = [
    panel
    for key, title, _ in _QUANTITIES
    if (panel := _panel(shown, key, title, f"{name}-{key}")) is not None
  ]
  if not panels:
    return None
  looks = [(drawing.Look(i), each.label) for i, each in enumerate(shown)]
  tables = [_table(each) for each in shown]
  return markup.join(
    [
      markup.tag(
        "div",
        drawing.legend(looks, name=name),
        markup.tag("div", *panels, class_="panels"),
        class_="plots",
      ),
      markup.folded("Numbers of every layer", *tables),
    ]
  )


def _values(each: evaluation.Evaluation, key: str) -> list[tuple[float, float]]:
  pairs = [
    (evaluation.finite(layer.get("layer")), evaluation.finite(layer.get(key)))
    for layer in each.codebooks
  ]
  return [(x + 1, y) for x, y in pairs if x is not None and y is not None]


def _panel(shown, key: str, title: str, name: str) -> markup.Html | None:
  curves = [(i, each, _values(each, key)) for i, each in enumerate(shown)]
  if not any(values for _, _, values in curves):
    return None

  def draw(axes) -> None:
    from matplotlib import ticker

    for i, _, values in curves:
      if values:
        look = drawing.Look(i).style()
        axes.plot(*zip(*values, strict=True), **look | {"markersize": 4})
    axes.set_ylim(bottom=0)
    axes.xaxis.set_major_locator(ticker.MaxNLocator(integer=True, nbins=8))
    axes.set_xlabel("quantizer layer")

  told = [
    f"{each.label} from {values[0][1]:.3g} in layer 1 to {values[-1][1]:.3g} "
    f"in layer {len(values)}"
    for _, each, values in curves
    if values
  ]
  plot = drawing.svg(
    draw, name=name, label=f"{title} per layer: {'; '.join(told)}."
  )
  return markup.tag(
    "figure", markup.tag("figcaption", markup.tag("b", title)), plot
  )


def _table(each: evaluation.Evaluation) -> markup.Html:
  rows = [
    [
      str(int(evaluation.finite(layer.get("layer")) or 0) + 1),
      *(
        wording.number(evaluation.finite(layer.get(key)), decimals)
        for key, _, decimals in _QUANTITIES
      ),
    ]
    for layer in each.codebooks
  ]
  return markup.table(
    ["Layer", *(title for _, title, _ in _QUANTITIES)],
    rows,
    caption=f"Codebooks of {each.label}",
  )
