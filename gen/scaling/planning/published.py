"""Published compute-optimal laws as data: constants, their source, and the conventions of N and C.

`DEFAULT` is the law of plans that name none.

`get_law("hoffmann2022").law.optimum(5.76e23)` uses approach 3 of Hoffmann et al. with the constants behind the paper's
figures; its printed, rounded constants give 32 B parameters there instead of 40 B. C FLOPs, N parameters, D tokens.
Losses are in nats per token of each law's own text and vocabulary, so losses of different laws cannot be compared.
"""

import dataclasses
import difflib
import math

from gen.errors import UserError
from gen.scaling.laws.loss_law.law import FLOPS_PER_PARAMETER_TOKEN, HOFFMANN_2022, ParametricLaw, PowerLaw
from gen.scaling.planning.budgets import PF_DAY


@dataclasses.dataclass(frozen=True)
class PublishedFrontier:
  """A law of the optimum alone: N*(C), D* = C / (k N*), and L*(C) if published.

  Attributes:
    n_law: N*(C).
    loss_law: L*(C); None if it is not published.
    k: training FLOPs a parameter and token.
  """

  n_law: PowerLaw
  loss_law: PowerLaw | None = None
  k: float = FLOPS_PER_PARAMETER_TOKEN

  @property
  def a(self) -> float:
    """Exponent of N* over C."""
    return self.n_law.exponent

  @property
  def b(self) -> float:
    """Exponent of D* over C."""
    return 1 - self.a

  def optimum(self, flops: float) -> tuple[float, float, float]:
    """Returns (N*, D*, loss) at so many FLOPs; the loss is NaN where it is not published."""
    n = self.n_law(flops)
    return n, flops / (self.k * n), self.loss_law(flops) if self.loss_law else math.nan


@dataclasses.dataclass(frozen=True)
class PublishedLaw:
  """A published law.

  Attributes:
    law: the constants.
    source: paper and section or table.
    counting: convention of N, as `gen.scaling.runs.conventions.PARAMETERS` names it.
    about: data and form in a few words.
    largest: approximate FLOPs of the largest runs that it was fitted to; beyond, it extrapolates.
    caution: known reason why its tokens per parameter differ from other laws'.
  """

  law: ParametricLaw | PublishedFrontier
  source: str
  counting: str
  about: str
  largest: float
  caution: str = ""


# Tables 3 and A3 of Hoffmann et al. 2022: FLOPs at which a size is optimal, by approaches 1 and 2.
_SIZES = (400e6, 1e9, 10e9, 67e9, 175e9, 280e9, 520e9, 1e12, 10e12)
# Table 3 of the paper, by approach 1.
_APPROACH_1 = (1.92e19, 1.21e20, 1.23e22, 5.76e23, 3.85e24, 9.90e24, 3.43e25, 1.27e26, 1.30e28)
# Table A3 of the paper, by approach 2.
_APPROACH_2 = (1.84e19, 1.20e20, 1.32e22, 6.88e23, 4.54e24, 1.18e25, 4.19e25, 1.59e26, 1.75e28)
_KAPLAN_A = 0.73  # exponent of N* (arXiv:2001.08361, section 6.1)
_STOPPED_EARLY = (
  "its constants come from a fit that stopped before its optimum, and contradict approaches 1 and 2 of the same paper "
  "(20.9 and 23.9 tokens a parameter at 5.76e23 FLOPs); besiroglu2024 is the refit (Besiroglu et al. 2024)"
)

LAWS = {
  "hoffmann2022": PublishedLaw(
    HOFFMANN_2022, "Hoffmann et al. 2022, arXiv:2203.15556, appendix D.3: approach 3, constants unrounded",
    "all", "MassiveText, parametric", 3e21, _STOPPED_EARLY,
  ),
  "hoffmann2022_rounded": PublishedLaw(
    ParametricLaw(E=1.69, A=406.4, B=410.7, alpha=0.34, beta=0.28),
    "Hoffmann et al. 2022, arXiv:2203.15556, equation 10: approach 3 as printed",
    "all", "MassiveText, parametric", 3e21, _STOPPED_EARLY + ", and rounding moved it further",
  ),
  "hoffmann2022_approach1": PublishedLaw(
    PublishedFrontier(PowerLaw.through(_APPROACH_1, _SIZES)),
    "Hoffmann et al. 2022, arXiv:2203.15556, a line through table 3: approach 1",
    "all", "MassiveText, envelope", 3e21,
  ),
  "hoffmann2022_approach2": PublishedLaw(
    PublishedFrontier(PowerLaw.through(_APPROACH_2, _SIZES)),
    "Hoffmann et al. 2022, arXiv:2203.15556, a line through table A3: approach 2",
    "all", "MassiveText, IsoFLOP", 3e21,
  ),
  "besiroglu2024": PublishedLaw(
    ParametricLaw(E=1.8172, A=482.01, B=2085.43, alpha=0.3478, beta=0.3658),
    "Besiroglu et al. 2024, arXiv:2404.10102, table 1: approach 3 refitted to figure 4 of Hoffmann et al.",
    "all", "MassiveText, parametric", 3e21,
  ),
  "muennighoff2023": PublishedLaw(
    ParametricLaw(
      E=math.exp(0.6254804), A=math.exp(6.255414), B=math.exp(7.3049974), alpha=0.3526596, beta=0.3526596
    ),
    "Muennighoff et al. 2023, arXiv:2305.16264, appendix A: alpha = beta",
    "all", "C4, parametric", 9.3e21,
  ),
  "kaplan2020": PublishedLaw(
    PublishedFrontier(PowerLaw(1.3e9 * PF_DAY**-_KAPLAN_A, _KAPLAN_A), PowerLaw((3.1e8 * PF_DAY) ** 0.050, -0.050)),
    "Kaplan et al. 2020, arXiv:2001.08361, section 6 and equation 1.3",
    "non_embedding", "WebText2, undecayed learning rates: N* is too large", 1e21,
    "its losses were read before the learning rate had decayed, and N leaves out embeddings; both make models too "
    "large (Hoffmann et al. 2022; Porian et al. 2024)",
  ),
  "porian2024": PublishedLaw(
    PublishedFrontier(PowerLaw(0.119322, 0.496777)),
    "Porian et al. 2024, arXiv:2406.19146, approach 2 (Akima) through their published runs, tuned, on RefinedWeb",
    "no_embedding", "RefinedWeb, IsoFLOP", 2.6e19,
  ),
  "deepseek2024": PublishedLaw(
    PublishedFrontier(PowerLaw(0.1715 / 6, 0.5243)),
    "DeepSeek-AI 2024, arXiv:2401.02954, equation 4, with N a sixth of its FLOPs a token",
    "non_embedding", "their own text, IsoFLOP", 3e20,
  ),
}  # fmt: skip
DEFAULT = "besiroglu2024"  # the refit: docs/planning.md has the figures behind the choice
RULE = 20.0  # tokens a parameter, the rule of thumb that Chinchilla (70 B, 1.4 T) stands for
ALIASES = {
  "chinchilla": "hoffmann2022",
  "hoffmann2022_approach3": "hoffmann2022",
  "kaplan": "kaplan2020",
  "besiroglu": "besiroglu2024",
  "muennighoff": "muennighoff2023",
  "deepseek": "deepseek2024",
  "porian": "porian2024",
}


def is_law(name: str) -> bool:
  """Returns whether a published law has this name, in any case."""
  return ALIASES.get(name.lower(), name.lower()) in LAWS


def get_law(name: str) -> PublishedLaw:
  """Returns a published law.

  Raises:
    UserError: for an unknown name, with the nearest one.

  >>> n, d, _ = get_law("hoffmann2022_approach1").law.optimum(5.76e23)
  >>> print(f"{n:.3g} parameters")
  6.78e+10 parameters
  """
  known = ALIASES.get(name.lower(), name.lower())
  if known not in LAWS:
    nearest = difflib.get_close_matches(known, LAWS, 1, 0.0)[0]
    raise UserError(
      f"there is no law {name!r} and no such file; there are {', '.join(LAWS)}; the nearest is {nearest!r}"
    )
  return LAWS[known]
