"""BLEU, chrF and TER of translations through sacrebleu (arXiv:1804.08771), in percent.

Statistics are taken sentence by sentence, once; each resample adds those of its sentences.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from gen.errors import UserError
from gen.evaluation.metrics.resampling import Evaluator

_INSTALL = "translations are scored by sacrebleu, which is not installed; run: uv sync --extra tasks"


def evaluate_translations(predictions: Sequence[str], targets: Sequence[str]) -> Evaluator:
  """Returns corpus BLEU, chrF and TER with sacrebleu's signatures.

  Raises:
    UserError: if sacrebleu is not installed.
  """
  try:
    from sacrebleu.metrics import BLEU, CHRF, TER
  except ImportError:
    raise UserError(_INSTALL) from None
  metrics = {"bleu": BLEU(), "chrf": CHRF(), "ter": TER()}
  # What sacrebleu's own bootstrap is built on.
  sums = {
    name: np.array(metric._extract_corpus_statistics(list(predictions), [list(targets)]))
    for name, metric in metrics.items()
  }

  def evaluate(counts_bn: np.ndarray) -> dict[str, np.ndarray]:
    return {
      name: np.array([_finish(metric, sums_s) for sums_s in np.rint(counts_bn @ sums[name]).astype(np.int64)])
      for name, metric in metrics.items()
    }

  signature = " ".join(f"{name}|{metric.get_signature()}" for name, metric in metrics.items())
  return Evaluator("bleu", evaluate, signature)


def _finish(metric: Any, sums_s: np.ndarray) -> float:
  return float(metric._compute_score_from_stats(sums_s.tolist()).score)
