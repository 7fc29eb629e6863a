"""Prompts: a template with named fields, and zero, one or k solved examples before the item that is asked.

    instruction                     Translate to the language of flowers.
    separator                       (a blank line)
    an example, whole               in: red    out: rose
    separator
    the item, up to its answer      in: white  out:

Examples are drawn with a seed, evenly over their answers if wanted, and are never the item that is asked: whatever
agrees with it in all fields but the answer is left out (arXiv:2005.14165, 2.4).
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

  What fills a field is put in as it is: braces in it mean nothing.

  Attributes:
    text: as it was given.
    fields: names, in order of first appearance.

  >>> PromptTemplate("{word} is {kind}").fill(word="{rose}", kind="red")
  '{rose} is red'
  """

  def __init__(self, text: str) -> None:
    """Reads the fields of a text.

    Raises:
      UserError: for braces that do not pair, or a field that is no plain name.
    """
    self.text = text
    try:
      parsed = list(string.Formatter().parse(text))
    except ValueError as error:
      raise UserError(f"template {text!r} cannot be read: {error}; write {{{{ for a brace") from None
    self._parts: list[tuple[str, str | None]] = []
    for literal, name, form, conversion in parsed:
      if name is not None and (not name.isidentifier() or form or conversion):
        shown = name + (f"!{conversion}" if conversion else "") + (f":{form}" if form else "")
        raise UserError(
          f"template {text!r} has the field {{{shown}}}; a field is a plain name such as {{word}}"
        )
      self._parts.append((literal, name))
    self.fields = tuple(dict.fromkeys(name for _, name in self._parts if name is not None))

  def fill(self, **values: str) -> str:
    """Returns the text with every field filled; values of other names are passed over.

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
          f"template {self.text!r} wants a value for {{{name}}}, and the item has {_listed(values)}"
        )

  def __repr__(self) -> str:
    return f"Template({self.text!r})"


def _listed(names: Iterable[str]) -> str:
  return ", ".join(sorted(names)) or "none"


class FewShotPrompt(NamedTuple):
  """What is asked, in full.

  Attributes:
    text: what the model reads; of a model that fills blanks, with a blank in the answer's place.
    bare: the same without examples.
    examples: numbers, in the pool, of the examples in `text`, in their order there.
  """

  text: str
  bare: str
  examples: tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class PromptLayout:
  """How examples and items become a prompt.

  Attributes:
    template: of an item; one of its fields is the answer.
    answer: the name of that field.
    instruction: what stands before everything; empty is nothing.
    separator: between instruction, examples and item.
    balanced: whether the examples' answers are as evenly many as k allows.
  """

  template: PromptTemplate
  answer: str = "answer"
  instruction: str = ""
  separator: str = "\n\n"
  balanced: bool = True

  def __post_init__(self) -> None:
    """Checks that the template has the answer's field."""
    self.template.until(self.answer, **dict.fromkeys(self.template.fields, ""))

  def zero_shot(self, item: Item, blank: str | None = None) -> FewShotPrompt:
    """Returns the prompt of an item alone."""
    return self.few_shot(item, (), 0, 0, blank)

  def one_shot(self, item: Item, pool: Sequence[Item], seed: int, blank: str | None = None) -> FewShotPrompt:
    """Returns the prompt of an item after one example."""
    return self.few_shot(item, pool, 1, seed, blank)

  def few_shot(
    self, item: Item, pool: Sequence[Item], k: int, seed: int, blank: str | None = None
  ) -> FewShotPrompt:
    """Returns the prompt of an item after k examples of a pool.

    The choice depends on the seed, the item and the pool alone; that of a smaller k is part of that of a larger.

    Args:
      item: what is asked; it need not have the answer.
      pool: solved items.
      k: examples.
      seed: of the choice and the order.
      blank: what stands for the answer, for a model that fills blanks; None ends the prompt before the answer.

    Raises:
      UserError: for fewer than k examples that are not the item, or a field without a value.
    """
    questions = [self._question(other) for other in pool] if k else []
    answers = [other.get(self.answer, "") for other in pool] if self.balanced else []
    chosen = choose_examples(questions, answers, self._question(item), k, seed)
    examples = [self.template.fill(**pool[number]) for number in chosen]
    before = [self.instruction] if self.instruction else []
    asked = self._open(item) if blank is None else self.template.fill(**{**item, self.answer: blank})
    return FewShotPrompt(
      self.separator.join([*before, *examples, asked]), self.separator.join([*before, asked]), chosen
    )

  def _open(self, item: Item) -> str:
    return self.template.until(self.answer, **item)

  def _question(self, item: Item) -> Question:
    """Returns what an item asks: its fields in the template but the answer."""
    return tuple((name, item[name]) for name in self.template.fields if name != self.answer and name in item)


def choose_examples(
  questions: Sequence[Question], answers: Sequence[str], asked: Question, k: int, seed: int
) -> tuple[int, ...]:
  """Returns the numbers of k examples, in random order, none of which asks what is asked.

  With answers, these take turns in random order, and so none has two examples more than another, unless there are
  too few of it.

  Args:
    questions: what each example asks.
    answers: of each example; empty chooses without regard to them.
    asked: what none may ask.
    k: how many.
    seed: of choice and order.

  Raises:
    UserError: for a k below 0, or more than there are.
  """
  if k < 0:
    raise UserError(f"k {k} is not allowed; ask for 0 examples or more")
  able = [number for number, question in enumerate(questions) if question != asked]
  if k > len(able):
    raise UserError(
      f"{k} examples are asked for, and the pool has {len(able)} beside the item itself; take fewer"
    )
  draw = random.Random(f"{seed} {zlib.crc32(repr(asked).encode(errors='surrogatepass'))}")
  draw.shuffle(able)
  chosen = (_in_turn(able, answers, draw) if answers else able)[:k]
  draw.shuffle(chosen)
  return tuple(chosen)


def _in_turn(able: list[int], answers: Sequence[str], draw: random.Random) -> list[int]:
  """Returns the numbers in an order in which the answers take turns."""
  groups: dict[str, list[int]] = {}
  for number in able:
    groups.setdefault(answers[number], []).append(number)
  order = sorted(groups)
  draw.shuffle(order)
  turns = [
    (turn, place, number) for place, name in enumerate(order) for turn, number in enumerate(groups[name])
  ]
  return [number for _, _, number in sorted(turns)]


def blank_of(family: str, objective: str) -> str | None:
  """Returns what stands for the answer in prompts of a model: a blank where it learnt to fill them, else nothing.

  >>> blank_of("encoder", "masked"), blank_of("encoder_decoder", "prefix"), blank_of("decoder", "causal")
  ('___', None, None)
  """
  fills = family == "encoder" or (family == "encoder_decoder" and objective not in ("prefix", "ul2"))
  return BLANK if fills else None
