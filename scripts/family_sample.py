"""Two short documents in a packed row, as the objectives of three families make them, for draw_families."""

from typing import NamedTuple

import numpy as np

from gen import presets
from gen.batch import Batch
from gen.config import Model
from gen.data.objectives import Objective, Specials, make_objective

DOCUMENTS = ("the cat sat on the warm mat", "rain fell all day")
PAD, EOS, BOS, CLS, SEP, MASK = range(6)
WORDS = ["<pad>", "</s>", "<s>", "[CLS]", "[SEP]", "[MASK]"]
WORDS += sorted(set(" ".join(DOCUMENTS).split()))
SPECIALS = Specials(
  vocab=len(WORDS) + 100,
  text_begin=6,
  text_end=len(WORDS),
  pad=PAD,
  eos=EOS,
  bos=BOS,
  cls=CLS,
  sep=SEP,
  mask=MASK,
  sentinels=tuple(range(len(WORDS), len(WORDS) + 100)),
)
SHARES = {"rate": 0.4, "mean_span": 2.0}  # more noise than the default, so that a short text shows some


class Family(NamedTuple):
  """A column of the figure: a preset, an objective of its family, and what both make of the text."""

  title: str
  preset: str
  model: Model
  objective: str
  batch: Batch


def packed() -> tuple[np.ndarray, np.ndarray]:
  """Returns the documents in one row, as the stream has them: tokens and segments."""
  ids: list[int] = []
  segments: list[int] = []
  for number, text in enumerate(DOCUMENTS, start=1):
    ids += [BOS, *(WORDS.index(word) for word in text.split()), EOS]
    segments += [number] * (len(ids) - len(segments))
  return np.array(ids), np.array(segments)


def families() -> tuple[Family, ...]:
  """Returns the three families with the sample text under their objectives."""
  ids_n, segments_n = packed()
  masked = make_objective("masked", SPECIALS, len(ids_n), rate=0.3)
  causal = make_objective("causal", SPECIALS, len(ids_n) - 1)
  spans = make_objective("span_corruption", SPECIALS, 3 * len(ids_n), **SHARES)
  made = zip(
    ("Encoder", "Decoder", "Encoder-decoder"),
    ("bert-base", "gpt2", "t5-base"),
    ("masked", "causal", "span_corruption"),
    (masked, causal, spans),
    strict=True,
  )
  return tuple(
    Family(title, name, presets.get_model(name), objective, telling(each, ids_n, segments_n))
    for title, name, objective, each in made
  )


def telling(objective: Objective, ids_n: np.ndarray, segments_n: np.ndarray) -> Batch:
  """Returns the first draw in which a mask, a random and a kept token are seen, or two spans of one document."""

  def draw(seed: int) -> Batch:
    return trimmed(objective(ids_n, np.random.default_rng(seed), segments_n))

  def tells(batch: Batch) -> bool:
    if batch.source_bs is not None:
      return SPECIALS.sentinels[1] in batch.source_bs and len(set(batch.segments_bt)) == len(DOCUMENTS)
    chosen = batch.weights_bt > 0
    kinds = {MASK in batch.inputs_bt, bool((chosen & (batch.inputs_bt == batch.targets_bt)).any())}
    kinds.add(bool((chosen & (batch.inputs_bt != batch.targets_bt) & (batch.inputs_bt != MASK)).any()))
    return "causal" in type(objective).__module__ or kinds == {True}

  return next(batch for batch in map(draw, range(10_000)) if tells(batch))


def trimmed(batch: Batch) -> Batch:
  """Returns a row without its padding."""
  values = batch._asdict()
  target, source = batch.segments_bt > 0, batch.source_segments_bs
  for name, value in values.items():
    if value is not None:
      values[name] = value[source > 0] if name.startswith("source") and source is not None else value[target]
  return Batch(**values)


def word(number: int) -> str:
  """Returns how an id is shown."""
  return WORDS[number] if number < len(WORDS) else f"<{number - len(WORDS)}>"


def words(ids: np.ndarray) -> list[str]:
  """Returns how ids are shown."""
  return [word(int(number)) for number in ids]
