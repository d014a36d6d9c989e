"""Description of a metric: its function, its names, and where it holds."""

import dataclasses
import importlib.metadata
import importlib.util
import math
from collections.abc import Callable

import numpy as np

INSTALL = "pip install 'soundstream_jax[metrics]'"


class NoValue(ValueError):
  """A clip has no value; the message says why, for a reader of a report."""


@dataclasses.dataclass(frozen=True)
class Metric:
  """A number for each clip, of a reference and an output.

  Attributes:
    measure: (reference [B, T, 1], output [B, T, 1], *, sample_rate_hz) -> [B],
      at any sample rate; raises what it likes where it has no value.
    title: in the log and above curves.
    column: above a column of a table.
    unit: behind a number in the log; may be empty.
    decimals: in tables and in the log.
    higher_is_better: else lower is.
    sample_rate_hz: at which it is computed, whatever the clips have; None is
      the clips' own.
    classes: of clips that it is defined for; () is all.
    low: no value is below.
    high: no value is above.
    package: that it is computed by, as pip names it; '' is our own code.
    modules: that must be there to import.
    digest: of the file that it comes from, of a user's own.
    while_training: cheap enough to be measured at every validation.
  """

  measure: Callable[..., np.ndarray]
  title: str
  column: str
  unit: str = ""
  decimals: int = 2
  higher_is_better: bool = False
  sample_rate_hz: int | None = None
  classes: tuple[str, ...] = ()
  low: float = -math.inf
  high: float = math.inf
  package: str = ""
  modules: tuple[str, ...] = ()
  digest: str = ""
  while_training: bool = True

  def text(self, value: float) -> str:
    return f"{self.title} {value:.{self.decimals}f} {self.unit}".rstrip()

  def is_for(self, kind: str) -> bool:
    """Whether clips of a class can be measured; a folder's own name can."""
    return not self.classes or kind not in CLASSES or kind in self.classes

  def missing(self) -> str:
    """Returns why it cannot be measured here, and the fix; '' where it can."""
    for module in self.modules:
      if importlib.util.find_spec(module) is None:
        return f"{self.title} needs {self.package} ({module}): {INSTALL}"
    return ""

  def version(self) -> str:
    """Returns the package and its version, 'pesq 0.0.4'; '' of our own code.

    Of a user's file its digest: values of other versions are other values.
    """
    if not self.package:
      return self.digest
    try:
      return f"{self.package} {importlib.metadata.version(self.package)}"
    except importlib.metadata.PackageNotFoundError:
      return f"{self.package} (not installed)"


# Of clips, as datasets name them; any other is a folder's own name.
CLASSES = ("speech", "noisy", "music", "noise")
