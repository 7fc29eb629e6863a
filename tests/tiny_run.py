"""The tiny run that tests of training share: its text, its config, how it is stopped, and what of it must be equal.

All of them train one model of one shape, so its step is compiled once for all of them.
"""

import json
from pathlib import Path
from typing import Any

from gen.config import Data, Model, Optimizer, Run
from gen.io import typed_json
from gen.training import hooks
from gen.training.run_log.rows import RunResult

WORDS = "the model reads a row of tokens and predicts what comes next in it while its loss falls".split()  # noqa: SIM905
CLOCKS = ("time", "seconds", "seconds_spent", "wall_seconds", "tokens_per_second", "gflops")


def sentence(number: int) -> str:
  """Returns one document; few words, so a tiny model learns, and each with a number, so no two are equal."""
  words = (WORDS[(number * k + k // 3) % len(WORDS)] for k in range(1, 8 + number % 5))
  return f"{' '.join(words)} {number}."


def write_corpus(folder: Path) -> Path:
  """Writes 400 sentences as JSON lines; returns their file."""
  path = folder / "sentences.jsonl"
  path.write_text("".join(json.dumps({"text": sentence(number)}) + "\n" for number in range(400)))
  return path


def make_run(corpus: Path, cache: Path) -> Run:
  """Returns the run: a decoder of two layers, in the shape that GPT-2's format can hold."""
  shape = {"bias": True, "norm_bias": True, "positions": "learned", "tied": True}
  data = {"length": 24, "batch": 3, "validation_fraction": 0.3, "validation_tokens": 500}
  return Run(
    name="tiny",
    seed=3,
    model=Model(width=12, depth=2, head_width=6, dropout=0.1, **shape),
    data=Data(corpus=str(corpus), cache=str(cache), **data),
    optimizer=Optimizer(peak_learning_rate=1e-2, schedule="wsd"),
    steps=37,
    log_every=5,
    steps_per_dispatch=4,
    checkpoint_every=9,
  )


def without_clocks(result: RunResult | dict[str, Any]) -> dict[str, Any]:
  """Returns what two runs of one config have in common, bit for bit: all but clocks."""
  values = result if isinstance(result, dict) else typed_json.encode_record(result)
  return {name: value for name, value in values.items() if name not in CLOCKS}


class StopAt(hooks.NoHooks):
  """Stops a run when it has shown a row of so many steps."""

  def __init__(self, step: int) -> None:
    """Takes the step."""
    self.step, self.seen = step, 0

  def progress(self, row: dict[str, Any]) -> None:
    """Notes the row's step."""
    self.seen = max(self.seen, row.get("step", 0))

  def stop(self) -> bool:
    """Returns whether the step is reached."""
    return self.seen >= self.step
