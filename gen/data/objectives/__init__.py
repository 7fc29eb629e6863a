"""Training objectives: pure functions of (tokens, rng), in numpy, from raw tokens to a `gen.batch.Batch`.

    name                  families              input                   target
    causal                decoder, recurrent    a text                  the next token
    prefix                decoder (or both)     a text                  its continuation
    masked[_static, ...]  encoder               a text with holes       what was in them
    span_corruption       encoder_decoder       sentinels for spans     sentinels and spans
    ..._bytes             encoder_decoder       the same, of 20 tokens a span (ByT5, arXiv:2105.13626)
    infilling             encoder_decoder       masks for spans         the whole text
    bart                  encoder_decoder       the same, shuffled      the whole text, in order
    sentence_permutation  encoder_decoder       shuffled sentences      the text in order
    ul2                   encoder_decoder       one of seven ways       sentinels and spans

A decoder trained with `prefix` attends in both directions inside the prefix of each document, and causally after it.

>>> import numpy as np
>>> specials = Specials(vocab=400, text_begin=4, text_end=297, eos=1, bos=3, sentinels=tuple(range(300, 400)))
>>> objective = make_objective("span_corruption", specials, length=128)
>>> tokens_bn = np.full((2, objective.lengths.raw), 7)
>>> batch = objective(tokens_bn, np.random.default_rng(0))
>>> batch.source_bs.shape, batch.targets_bt.shape
((2, 128), (2, 29))
"""

from gen.data.objectives.objective import Objective, RowLengths
from gen.data.objectives.registry import (
  OBJECTIVES,
  families_of,
  make_objective,
  parameter_names,
  raw_row_length,
  required_tables,
  row_shapes,
)
from gen.data.objectives.specials import Specials

__all__ = [
  "OBJECTIVES",
  "Objective",
  "RowLengths",
  "Specials",
  "families_of",
  "make_objective",
  "parameter_names",
  "raw_row_length",
  "required_tables",
  "row_shapes",
]
