"""HTML of our own words and of names: what is not markup is escaped.

A name of a clip, of a point or of a system holds anything. Only `Html` goes
into a page as it is, and only `tag` and `join` make it.
"""

import html
from collections.abc import Iterable

from soundstream_jax import console

_VOID = {"br", "img", "input", "meta"}


class Html(str):
  """A text that is markup."""

  __slots__ = ()


def text(value: object) -> Html:
  """Returns a text to be read, whatever is in it; Html stays as it is."""
  if isinstance(value, Html):
    return value
  return Html(html.escape(console.safe(str(value))))


def join(parts: Iterable[object], between: str = "") -> Html:
  """Returns the parts, escaped, one after the other."""
  return Html(text(between).join(text(part) for part in parts))


def tag(name: str, /, *children: object, **attributes: object) -> Html:
  """Returns an element.

  Args:
    name: of the element.
    children: its content; texts are escaped.
    attributes: `class_` is class, `aria_label` is aria-label. True is one
      without a value; None and False are left out.
  """
  written = "".join(
    f" {key.rstrip('_').replace('_', '-')}"
    + ("" if value is True else f'="{text(value)}"')
    for key, value in attributes.items()
    if value is not None and value is not False
  )
  inside = "" if name in _VOID else f"{join(children)}</{name}>"
  return Html(f"<{name}{written}>{inside}")


def table(
  head: Iterable[object],
  rows: Iterable[Iterable[object]],
  *,
  caption: str,
  above: Iterable[tuple[object, int]] = (),
  numbers_from: int = 1,
) -> Html:
  """Returns a table that scrolls in itself where it is too wide.

  Args:
    head: of the columns.
    rows: each begins with its head.
    caption: of the table; also how a screen reader names it.
    above: heads of some columns each, and of how many, over `head`.
    numbers_from: the first column that holds numbers.
  """

  def cell(i: int, value: object) -> Html:
    kind = "number" if i >= numbers_from else None
    if i == 0:
      return tag("th", value, scope="row")
    return tag("td", value, class_=kind)

  groups = [
    tag("th", value, scope="colgroup", colspan=width, class_="over")
    if value
    else tag("td", colspan=width)
    for value, width in above
    if width
  ]
  over = tag("tr", *groups) if groups else ""
  scrolled = tag(
    "div",
    tag(
      "table",
      tag(
        "thead",
        over,
        tag(
          "tr",
          *(
            tag(
              "th",
              value,
              scope="col",
              class_="number" if i >= numbers_from else None,
            )
            for i, value in enumerate(head)
          ),
        ),
      ),
      tag(
        "tbody",
        *(tag("tr", *(cell(i, v) for i, v in enumerate(row))) for row in rows),
      ),
    ),
    class_="scroll",
    tabindex="0",
    role="region",
    aria_label=caption,
  )
  # Above what scrolls, or a phone would cut it off.
  return join([tag("p", caption, class_="caption"), scrolled])


def folded(title: object, *content: object, open_: bool = False) -> Html:
  """Returns content under a line that opens it."""
  return tag("details", tag("summary", title), *content, open=open_)
