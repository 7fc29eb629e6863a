"""What may be compared between families and what may not, each with its reason.

The sentences are part of the result: a table of four families invites comparisons that its numbers cannot carry.
"""

from collections.abc import Collection

from gen.scaling.atlas.atlas_records import ComparisonStatement

TITLES = {
  "decoder": "causal decoder",
  "encoder": "masked encoder",
  "encoder_decoder": "span-corruption encoder-decoder",
  "lstm": "LSTM",
}
EQUAL = ("decoder", "lstm")  # the two that are asked the same question

_STATEMENTS: tuple[tuple[str, tuple[str, ...], bool, str], ...] = (
  (
    "loss of the decoder and the LSTM",
    EQUAL,
    True,
    "both predict every token of the same validation rows from the tokens before it in its row; the LSTM's state "
    "begins empty at each row, so neither sees more than the other",
  ),
  (
    "loss of the masked encoder with any other",
    ("encoder",),
    False,
    "it is a mean over the masked 15 % of tokens, each guessed from both sides: another question, with another least "
    "loss, and no likelihood of a text",
  ),
  (
    "loss of the encoder-decoder with any other",
    ("encoder_decoder",),
    False,
    "it is a mean over sentinels and the tokens of the hidden spans, guessed from the text on both sides and from the "
    "span's own beginning: another question again",
  ),
  (
    "exponents a and b between objectives",
    ("decoder", "encoder", "encoder_decoder", "lstm"),
    True,
    "each says how the optimum of a family moves with compute under its own loss; a difference says that they want to "
    "grow differently, not that one is better",
  ),
  (
    "N between families",
    ("decoder", "encoder", "encoder_decoder", "lstm"),
    True,
    "all matrices with the head and without the look-up, in every family; but a place of an encoder-decoder meets only "
    "the stack that it is in, so that C is well below 6 N (positions), and head sizes differ by the objectives' "
    "special tokens",
  ),
  (
    "D between families",
    ("encoder", "encoder_decoder"),
    False,
    "unless its meaning is the same: a masked encoder learns from 15 % of the places that it pays for, an "
    "encoder-decoder reads a text in one stack and writes its holes in the other; so all three meanings are given",
  ),
  (
    "FLOPs",
    ("decoder", "encoder", "encoder_decoder", "lstm"),
    True,
    "one meter counts every matrix product of the step, all pairs of a row's attention and the logits of all places, "
    "masked or not; what is no matrix product (norms, gates, softmax) is not counted anywhere",
  ),
  (
    "seconds",
    ("decoder", "encoder", "encoder_decoder", "lstm"),
    True,
    "on the machine of this study alone, at sizes that are best for FLOPs, not for seconds, and as far as the machine "
    "had no other work meanwhile; an LSTM's loop over time and narrow models use a core worse",
  ),
  (
    "learning rates",
    ("decoder", "encoder", "encoder_decoder", "lstm"),
    True,
    "each family has a rule of its own over width and batch, measured beforehand in a few runs; a family whose rule is "
    "farther off its best is put in the wrong by that much",
  ),
)


def comparison_statements(families: Collection[str]) -> list[ComparisonStatement]:
  """Returns what concerns these families: what is compared, whether it may be, and why.

  >>> [statement.what for statement in comparison_statements(["lstm"])][:2]
  ['exponents a and b between objectives', 'N between families']
  """
  statements = []
  for what, concerned, may, why in _STATEMENTS:
    present = [name for name in concerned if name in families]
    if present and not (concerned == EQUAL and len(present) < len(EQUAL)):
      statements.append(ComparisonStatement(what, present, may, why))
  return statements


def family_title(family: str) -> str:
  """Returns a family's name for people.

  >>> family_title("lstm"), family_title("gru")
  ('LSTM', 'gru')
  """
  return TITLES.get(family, family)
