"""Prompts: a template with named fields, and k solved examples before the question.

    instruction                     Translate to the language of flowers.
    separator                       (a blank line)
    an example, whole               in: red    out: rose
    separator
    the item, up to its answer      in: white  out:

Examples are drawn with a seed, optionally balanced over their answers, and never include the question: items that
equal it in all fields but the answer are excluded (arXiv:2005.14165, 2.4).
"""

import dataclasses
import random
import string
import zlib
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from gen.errors import UserError
from gen.generation.text import BLANK

Item = Mapping[str, str]
Question = tuple[tuple[str, str], ...]


class PromptTemplate:
  """A text with named fields in braces; {{ and }} are braces.

  Values are inserted unchanged, braces included.

  Attributes:
    text: of the template.
    fields: names, in order of first appearance.

  >>> PromptTemplate("{word} is {kind}").fill(word="{rose}", kind="red")
  '{rose} is red'
  """

  def __init__(self, text: str) -> None:
    """Reads the fields of a text.

    Raises:
      UserError: for unbalanced braces, or a field that is no plain name.
    """
    self.text = text
    try:
      parsed = list(string.Formatter().parse(text))
    except ValueError as error:
      raise UserError(f"template {text!r} cannot be read: {error}; write {{{{ for a brace") from None
    self._parts: list[tuple[str, str | None]] = []
    for literal, name, form, conversion in parsed:
      if name is not None and (not name.isidentifier() or form or conversion):
        field = name + (f"!{conversion}" if conversion else "") + (f":{form}" if form else "")
        raise UserError(
          f"template {text!r} has the field {{{field}}}; a field is a plain name such as {{word}}"
        )
      self._parts.append((literal, name))
    self.fields = tuple(dict.fromkeys(name for _, name in self._parts if name is not None))

  def fill(self, **values: str) -> str:
    """Returns the text with every field filled; values of other names are ignored.

    Raises:
      UserError: for a field without a value.
    """
    self._require(self.fields, values)
    return "".join(literal + (values[name] if name is not None else "") for literal, name in self._parts)

  def until(self, field: str, **values: str) -> str:
    """Returns the text before the first appearance of a field, with every field before it filled.

    Raises:
      UserError: for a field that the template does not have, or one without a value.
    """
    if field not in self.fields:
      raise UserError(f"template {self.text!r} has no field {{{field}}}; it has {_listed(self.fields)}")
    begun: list[str] = []
    for literal, name in self._parts:
      begun.append(literal)
      if name == field:
        break
      if name is not None:
        self._require((name,), values)
        begun.append(values[name])
    return "".join(begun)

  def _require(self, names: Iterable[str], values: Item) -> None:
    for name in names:
      if name not in values:
        raise UserError(
          f"template {self.text!r} needs a value for {{{name}}}, and the item has {_listed(values)}"
        )

  def __repr__(self) -> str:
    return f"Template({self.text!r})"


def _listed(names: Iterable[str]) -> str:
  return ", ".join(sorted(names)) or "none"


class FewShotPrompt(NamedTuple):
  """A complete prompt.

  Attributes:
    text: the model's input, with a blank for the answer if the model fills blanks.
    bare: the same without examples.
    examples: pool indices of the examples in `text`, in order.
  """

  text: str
  bare: str
  examples: tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class PromptLayout:
  """The layout of a prompt from examples and an item.

  Attributes:
    template: of an item; one of its fields is the answer.
    answer: the name of that field.
    instruction: text before everything else; may be empty.
    separator: between instruction, examples and item.
    balanced: whether the examples' answers are as equally frequent as k allows.
  """

  template: PromptTemplate
  answer: str = "answer"
  instruction: str = ""
  separator: str = "\n\n"
  # Unequal answers in a prompt bias a model to the frequent one: "majority label bias" of arXiv:2102.09690.
  balanced: bool = True

  def __post_init__(self) -> None:
    """Checks that the template has the answer's field."""
    self.template.until(self.answer, **dict.fromkeys(self.template.fields, ""))

  def zero_shot(self, item: Item, blank: str | None = None) -> FewShotPrompt:
    """Returns the prompt of an item alone."""
    return self.few_shot(item, (), 0, 0, blank)

  def few_shot(
    self, item: Item, pool: Sequence[Item], k: int, seed: int, blank: str | None = None
  ) -> FewShotPrompt:
    """Returns the prompt of an item after k examples of a pool.

    The choice depends only on the seed, the item and the pool; a smaller k gives a subset.

    Args:
      item: the question; its answer may be missing.
      pool: solved items.
      k: number of examples.
      seed: of the choice and the order.
      blank: placeholder of the answer, for a model that fills blanks; None ends the prompt before the answer.

    Raises:
      UserError: for fewer than k examples that are not the item, or a field without a value.
    """
    questions = [self._question(example) for example in pool] if k else []
    answers = [example.get(self.answer, "") for example in pool] if self.balanced else []
    chosen = choose_examples(questions, answers, self._question(item), k, seed)
    examples = [self.template.fill(**pool[number]) for number in chosen]
    before = [self.instruction] if self.instruction else []
    question = self._open(item) if blank is None else self.template.fill(**{**item, self.answer: blank})
    return FewShotPrompt(
      self.separator.join([*before, *examples, question]), self.separator.join([*before, question]), chosen
    )

  def _open(self, item: Item) -> str:
    return self.template.until(self.answer, **item)

  def _question(self, item: Item) -> Question:
    """Returns the question of an item: its fields in the template except the answer."""
    return tuple((name, item[name]) for name in self.template.fields if name != self.answer and name in item)


def choose_examples(
  questions: Sequence[Question], answers: Sequence[str], item: Question, k: int, seed: int
) -> tuple[int, ...]:
  """Returns the indices of k examples, in random order, all with other questions.

  With answers, each answer gets the same number of examples up to one, unless there are too few of it.

  Args:
    questions: of each example.
    answers: of each example; empty chooses without balancing.
    item: the question to exclude.
    k: number of examples.
    seed: of choice and order.

  Raises:
    UserError: for a negative k, or one above the number of examples.
  """
  if k < 0:
    raise UserError(f"k {k} is not allowed; ask for 0 examples or more")
  able = [number for number, question in enumerate(questions) if question != item]
  if k > len(able):
    raise UserError(
      f"{k} examples are requested, but the pool has {len(able)} without the item itself; ask for fewer"
    )
  # Seeded by the item too, so that each question has its own examples; crc32, because hash() differs between processes.
  draw = random.Random(f"{seed} {zlib.crc32(repr(item).encode(errors='surrogatepass'))}")
  draw.shuffle(able)
  chosen = (_in_turn(able, answers, draw) if answers else able)[:k]
  # Once more: alternating answers would give the next answer away.
  draw.shuffle(chosen)
  return tuple(chosen)


def _in_turn(able: list[int], answers: Sequence[str], draw: random.Random) -> list[int]:
  """Returns the indices in an order that alternates between answers."""
  groups: dict[str, list[int]] = {}
  for number in able:
    groups.setdefault(answers[number], []).append(number)
  # Sorted before the shuffle: the order of a pool's first answers must not decide the draw.
  order = sorted(groups)
  draw.shuffle(order)
  # (turn, answer): the first example of each answer, then the second of each, and so on.
  turns = [
    (turn, position, number)
    for position, name in enumerate(order)
    for turn, number in enumerate(groups[name])
  ]
  return [number for _, _, number in sorted(turns)]


def blank_of(family: str, objective: str) -> str | None:
  """Returns the placeholder of the answer in prompts of a model: a blank if it was trained to fill blanks, else None.

  >>> blank_of("encoder", "masked"), blank_of("encoder_decoder", "prefix"), blank_of("decoder", "causal")
  ('___', None, None)
  """
  # prefix and ul2 continue a text; other objectives of encoder-decoders fill blanks.
  fills = family == "encoder" or (family == "encoder_decoder" and objective not in ("prefix", "ul2"))
  return BLANK if fills else None
