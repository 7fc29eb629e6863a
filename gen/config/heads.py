"""The head that a fine-tuned model has in the place of its language-model head.

    kind      logits        published form
    classify  [B, K]        BERT, RoBERTa, ModernBERT, GPT-2, Llama, BART ...ForSequenceClassification
    tag       [B, T, K]     BERT, RoBERTa, ModernBERT ...ForTokenClassification
    span      [B, T, 2]     BERT, RoBERTa, ModernBERT ...ForQuestionAnswering: first and last token of the answer
    none      [B, T, V]     the language model itself, for text to text

B batch, T length, K labels, V vocab.
"""

import dataclasses

from gen.config.model import Model
from gen.errors import UserError

KINDS = ("classify", "tag", "span", "none")
POOLINGS = ("first", "mean", "last")
HIDDEN_LAYERS = ("none", "pooler", "dense", "transform")
PROBLEMS = ("single", "regression", "multi_label")


@dataclasses.dataclass(frozen=True)
class HeadConfig:
  """What stands on top of a model's last hidden states.

  Attributes:
    kind: one of `KINDS`.
    labels: names of the outputs of `classify` and `tag`, in their order; one name for a regression.
    pooling: which tokens of a text `classify` reads: its first, the mean of all, or its last one that is no padding.
    dropout: probability before each dense layer of the head, in training; before the logits alone after `transform`.
    hidden: the layer before the logits of `classify`. `pooler` is BERT's, tanh of a dense layer that belongs to the
      model; `dense` is RoBERTa's and BART's, the same with dropout before it, and belongs to the head. `transform` is
      that of a masked-language-model head, a dense layer, an activation and a norm (ModernBERT, all kinds).
    bias: whether the logits have one (GPT-2's and Llama's classifiers have none).
    problem: `single` label, `multi_label`, or `regression`, whose outputs are numbers.

  Raises:
    UserError: for a value that is none of these.
  """

  kind: str
  labels: tuple[str, ...] = ()
  pooling: str = "first"
  dropout: float = 0.1  # BERT's (arXiv:1810.04805, section A.3)
  hidden: str = "none"
  bias: bool = True
  problem: str = "single"

  def __post_init__(self) -> None:
    """Checks the fields."""
    object.__setattr__(self, "labels", tuple(self.labels))
    choices = {"kind": KINDS, "pooling": POOLINGS, "hidden": HIDDEN_LAYERS, "problem": PROBLEMS}
    for field, known in choices.items():
      if getattr(self, field) not in known:
        raise UserError(f"head.{field} is {getattr(self, field)!r}; it must be one of {', '.join(known)}")
    if not 0 <= self.dropout < 1:
      raise UserError(f"head.dropout is {self.dropout}; it must be at least 0 and below 1")
    if self.kind in ("classify", "tag") and not self.labels:
      raise UserError(f"head.labels is empty; a head of kind {self.kind} needs the names of its labels")
    if self.kind in ("span", "none") and self.labels:
      raise UserError(f"head.labels is set, but a head of kind {self.kind} has no labels; leave it empty")
    if len(set(self.labels)) < len(self.labels):
      twice = next(label for label in self.labels if self.labels.count(label) > 1)
      raise UserError(f"head.labels names {twice!r} twice; each label needs a name of its own")
    if self.kind != "classify" and self.hidden not in ("none", "transform"):
      raise UserError(f"head.hidden is {self.hidden!r}, which only a head of kind classify has")

  @property
  def outputs(self) -> int:
    """K: numbers that the head returns for a text or token."""
    return 2 if self.kind == "span" else len(self.labels)


NO_HEAD = HeadConfig("none")


def published_head(
  model: Model, kind: str, labels: tuple[str, ...] = (), dropout: float = 0.1, problem: str = "single"
) -> HeadConfig:
  """Returns the head that the paper of a model's family has for a kind of task.

  Encoders with BERT's positions have its pooler, those with RoBERTa's a dense layer, and ModernBERTs a dense layer with
  a norm. Decoders and recurrent models read the last token by one matrix without bias. Encoder-decoders read the last
  token of the decoder, as BART.

  Raises:
    UserError: for an unknown kind, or labels that do not fit it.
  """
  if kind in KINDS[:3] and model.role == "encoder" and not model.first_norm:
    return HeadConfig(kind, labels, "first", dropout, "transform", problem=problem)
  if kind != "classify":
    return HeadConfig(kind, labels, dropout=dropout if kind == "tag" else 0.0, problem=problem)
  if model.role == "encoder":
    hidden = "dense" if model.position_offset else "pooler"
    return HeadConfig(kind, labels, "first", dropout, hidden, problem=problem)
  if model.role == "encoder_decoder":
    return HeadConfig(kind, labels, "last", dropout, "dense", problem=problem)
  return HeadConfig(kind, labels, "last", 0.0, bias=False, problem=problem)
