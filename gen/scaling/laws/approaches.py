"""The three approaches of Hoffmann et al. 2022 (arXiv:2203.15556): names, titles, and the fits of a study."""

import dataclasses
from typing import TYPE_CHECKING

from gen.scaling.laws.power_law_fit import PowerLawFit

if TYPE_CHECKING:  # Approach 3 imports jax, which readers of names and titles do without.
  from gen.scaling.laws.envelope import EnvelopeFit
  from gen.scaling.laws.isoflop import IsoflopFit
  from gen.scaling.laws.parametric import ParametricFit

TITLES = {"envelope": "1 envelope", "isoflop": "2 IsoFLOP", "parametric": "3 parametric"}
NAMES = tuple(TITLES)
DISAGREEMENT = (
  0.05  # in a, between approaches 2 and 3; the paper's own lie 0.03 apart (0.49 and 0.46, its table 2)
)


def numbered_name(name: str) -> str:
  """Returns the name under which the paper has an approach.

  >>> numbered_name("isoflop")
  'approach 2'
  """
  return f"approach {TITLES[name].split()[0]}"


@dataclasses.dataclass(frozen=True)
class Fits:
  """The fits of the three approaches; None, with a sentence in `errors`, for an approach that failed."""

  envelope: "EnvelopeFit | None"
  isoflop: "IsoflopFit | None"
  parametric: "ParametricFit | None"
  errors: dict[str, str]

  def items(self) -> list[tuple[str, PowerLawFit]]:
    """Returns (name, fit) of the approaches that succeeded, by ascending number."""
    pairs = zip(NAMES, (self.envelope, self.isoflop, self.parametric), strict=True)
    return [(name, fitted) for name, fitted in pairs if fitted is not None]

  @property
  def warnings(self) -> list[str]:
    """All warnings, each with its approach; why approaches are left out; and where approaches disagree."""
    # Approach 3 first: it uses all runs, so its warnings concern the whole table.
    latest_first = list(reversed(self.items()))
    sentences = [f"{name}: {text}" for name, fitted in latest_first for text in fitted.warnings]
    sentences += [
      f"{name} is left out: {self.errors[name]}" for name in reversed(NAMES) if name in self.errors
    ]
    return [*sentences, *self._disagreement()]

  def _disagreement(self) -> list[str]:
    """Returns a sentence if approaches 2 and 3 give different exponents."""
    if self.isoflop is None or self.parametric is None:
      return []
    two, three = self.isoflop.a, self.parametric.a
    if not abs(two - three) > DISAGREEMENT:
      return []
    return [f"approaches 2 and 3 disagree: a is {two:.3f} by IsoFLOP, {three:.3f} by the parametric law"]
