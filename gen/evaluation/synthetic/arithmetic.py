"""Sums and products as text, with a call of the calculator or without one.

    plain    37*45=1665
    call     37*45=[calculator("37*45") -> 1665]

A model with calls only copies the problem; without calls it has to compute. Test problems are excluded from
training.
"""

import dataclasses
import hashlib
import re

import numpy as np

from gen.batch import Batch
from gen.errors import UserError
from gen.evaluation.synthetic import synthetic_training
from gen.generation import tools

OPERATORS = "+-*"
HELD_OUT = 16  # one problem in HELD_OUT is for testing; chosen: a byte of the hash divides evenly by it


@dataclasses.dataclass(frozen=True)
class Arithmetic:
  """Problems of two whole numbers.

  Attributes:
    digits: of each number, exactly.
    calls: whether answers are calls.
    operators: of + - *.
  """

  digits: int = 3
  calls: bool = True
  operators: str = OPERATORS

  def __post_init__(self) -> None:
    """Checks the sizes."""
    if not 1 <= self.digits <= 9:
      raise UserError(f"numbers of {self.digits} digits are not supported; take 1 to 9")
    if not self.operators or set(self.operators) - set(OPERATORS):
      raise UserError(f"operators {self.operators!r} are unknown; choose from {OPERATORS}")

  @property
  def families(self) -> tuple[str, ...]:
    """Families that read the problems."""
    return synthetic_training.CAUSAL_FAMILIES

  @property
  def length(self) -> int:
    """Positions of the longest row, with a mark before it and its end."""
    largest = 10**self.digits - 1
    prompt, answer = self.solved(f"{largest}{self.operators[-1]}{largest}")
    return 2 + len(prompt) + max(len(answer), len(self.solved(f"{largest}*{largest}")[1]))

  def solved(self, problem: str) -> tuple[str, str]:
    """Returns the prompt of a problem, and its expected answer.

    >>> Arithmetic(2).solved("37*45")
    ('37*45=', '[calculator("37*45") -> 1665]')
    """
    result = str(tools.evaluate_arithmetic(problem))
    if not self.calls:
      return f"{problem}=", result
    return f"{problem}=", f'{tools.OPEN}calculator("{problem}"){tools.ARROW} {result}{tools.CLOSE}'

  def answer(self, written: str) -> str | None:
    """Returns the value of an answer, or None.

    >>> Arithmetic(2).answer('[calculator("37*45") -> 1665]'), Arithmetic(2, calls=False).answer("16x")
    ('1665', None)
    """
    form = rf".*{re.escape(tools.ARROW)} (-?\d+){re.escape(tools.CLOSE)}" if self.calls else r"(-?\d+)"
    match = re.fullmatch(form, written, re.DOTALL)
    return match[1] if match else None

  def batch(self, step: int, rows: int, seed: int = 0) -> Batch:
    """Returns the rows of a training step, a pure function of seed and step."""
    draw = np.random.default_rng((seed, step))
    return synthetic_training.batch_of_texts(
      [self.solved(self._draw(draw, False)) for _ in range(rows)], self.length
    )

  def held_out(self, count: int, seed: int = 0) -> list[str]:
    """Returns distinct problems that never occur in training.

    Raises:
      UserError: if there are fewer.
    """
    # A seed of three numbers, which no training step has.
    draw = np.random.default_rng((seed, 1, 1))
    # Half of the expected number of held-out problems, so that drawing distinct ones ends soon.
    max_problems = len(self.operators) * (9 * 10 ** (self.digits - 1)) ** 2 // (2 * HELD_OUT)
    if count > max_problems:
      raise UserError(
        f"{count} problems of {self.digits} digits are too many; ask for at most {max_problems}"
      )
    problems: dict[str, None] = {}
    while len(problems) < count:
      problems[self._draw(draw, True)] = None
    return list(problems)

  def _draw(self, draw: np.random.Generator, held_out: bool) -> str:
    """Returns a training problem or a test problem."""
    low, high = 10 ** (self.digits - 1), 10**self.digits
    while True:
      left, right = draw.integers(low, high, 2)
      problem = f"{left}{self.operators[draw.integers(len(self.operators))]}{right}"
      if is_held_out(problem) == held_out:
        return problem


def is_held_out(problem: str) -> bool:
  """Returns whether a problem is for testing, from its text alone."""
  # By a hash of the text and not by a list: training draws without end and need not know the test problems.
  return hashlib.sha256(problem.encode()).digest()[0] % HELD_OUT == 0
