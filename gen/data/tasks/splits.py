"""Splits examples into train, development and test without leaks: by document, by position, or by text.

A document lies in one part. Without documents, tagged sentences and translations are split by position, in contiguous
blocks, because neighbours repeat each other; other texts are split one by one. Equal texts lie in one part, and so do
documents that share a text, unless that joins many. Parts that the data gives are kept.
"""

import hashlib
from collections import defaultdict
from collections.abc import Callable, Hashable, Sequence
from typing import Any, TypeVar

from gen.data.tasks.builders.placed import Placed
from gen.data.tasks.examples import DialogueExample, PairExample, QuestionExample, TaggedExample, TextExample
from gen.data.tasks.records.record import PARTS
from gen.errors import UserError

BLOCKS = 100  # of a set that is split by position; chosen: a share of 1 % can be met
_MIN_BLOCK = 5  # examples; chosen: smaller blocks of neighbours would no longer keep neighbours together
# Share of the examples in documents that share texts, directly or through others; chosen: more cannot be moved without
# changing the shares of the parts.
_MAX_JOINED = 0.1
_BY_POSITION = ("tag", "translate")
Parts = dict[str, list[Placed]]
Example = TypeVar("Example")


def split_examples(
  task: str, placed: Sequence[Placed], seed: int, development: float, test: float, in_order: bool
) -> tuple[Parts, list[str]]:
  """Returns the examples of each part in their order, and sentences about the split.

  Args:
    task: of the examples.
    placed: examples with the parts that the data gives.
    seed: of the choice.
    development: share of the examples; 0 for no such part.
    test: the same.
    in_order: whether neighbours belong together.

  Raises:
    UserError: for shares out of range, given parts without train, or too few examples.
  """
  for name, share in (("development", development), ("test", test)):
    if not 0 <= share < 1:
      raise UserError(f"{name} is {share}; it is a share of the examples, from 0 to below 1")
  if development + test >= 1:
    raise UserError(f"development and test are {development} and {test}; together they must be below 1")
  given = {item.part for item in placed} - {""}
  if not given:
    wanted = {"test": test, "development": development}
    return _split(task, placed, wanted, seed, in_order, len(placed))
  parts: Parts = {part: [item for item in placed if (item.part or "train") == part] for part in PARTS}
  if not parts["train"]:
    raise UserError(f"the data gives only {' and '.join(sorted(given))}; training needs a part called train")
  notes = [f"the data gives {' and '.join(part for part in PARTS if parts[part])}"]
  wanted = {
    part: share for part, share in (("test", test), ("development", development)) if not parts[part] and share
  }
  if wanted:
    rest, more = _split(task, parts["train"], wanted, seed, in_order, len(parts["train"]))
    parts |= {part: rest[part] for part in ("train", *wanted)}
    notes += more
  return parts, [*notes, *_warn_of_copies(parts)]


def text_key(example: Any) -> Hashable:
  """Returns what makes two examples copies of each other: their input, without case and white space."""
  if isinstance(example, TextExample):
    return _plain(example.text), _plain(example.second_text)
  if isinstance(example, TaggedExample):
    return example.tokens
  if isinstance(example, PairExample):
    return _plain(example.source)
  if isinstance(example, QuestionExample):
    return _plain(example.context)
  if isinstance(example, DialogueExample):
    return tuple(_plain(message.content) for message in example.messages if message.role != "assistant")
  raise TypeError(type(example))


def _plain(text: str) -> str:
  return " ".join(text.split()).casefold()


def draw_position(seed: int, key: Any) -> str:
  """Returns digits that put keys into an order, which depends on the seed and each key alone."""
  return hashlib.sha256(f"{seed}\0{key!r}".encode("utf-8", "surrogatepass")).hexdigest()


def draw_examples(examples: Sequence[Example], count: int, seed: int = 0) -> list[Example]:
  """Returns a number of examples in their order, drawn by a seed; all of them if there are no more.

  The first examples of a sorted file are no sample of it: they may all be of one class.

  >>> draw_examples(range(100), 5)
  [8, 14, 49, 57, 60]
  """
  drawn = sorted(range(len(examples)), key=lambda index: draw_position(seed, index))[:count]
  return [examples[index] for index in sorted(drawn)]


def _split(
  task: str, placed: Sequence[Placed], wanted: dict[str, float], seed: int, in_order: bool, total: int
) -> tuple[Parts, list[str]]:
  units, how, notes = _make_units(task, placed, in_order)
  if len(units) < 1 + sum(share > 0 for share in wanted.values()):
    raise UserError(
      f"{len(placed)} examples in {len(units)} texts or documents are too few to split; give more"
    )
  key = lambda unit: draw_position(seed, unit)  # noqa: E731
  if how == "text" and task == "classify" and placed[0].example.label:
    chosen = _draw_stratified(placed, units, wanted, key)
  else:
    chosen = _draw_units(units, wanted, key, total)
  part_of = {index: part for part, indices in chosen.items() for index in indices}
  notes = [f"split by {how}, seed {seed}", *notes]
  if how != "text":
    notes += _join_copies(placed, part_of)
  _keep_labels(task, placed, part_of)
  parts: Parts = {part: [] for part in PARTS}
  for index, item in enumerate(placed):
    parts[part_of.get(index, "train")].append(item)
  for part in ("train", *(part for part, share in wanted.items() if share)):
    if not parts[part]:
      raise UserError(f"the split leaves no example for {part}; give more examples, or another seed or share")
  return parts, notes


def _make_units(
  task: str, placed: Sequence[Placed], in_order: bool
) -> tuple[dict[Any, list[int]], str, list[str]]:
  """Returns the indices of examples that stay together, what they share, and a sentence about joined documents."""
  units: dict[Any, list[int]] = defaultdict(list)
  documents = {item.example.document for item in placed}
  if len(documents) > 2:
    for index, item in enumerate(placed):
      units[item.example.document or text_key(item.example)].append(index)
    joined = _join_units(placed, units)
    apart = len(units) - len(joined)
    notes = [f"{apart:,} documents share a text with another one and go where it is"] if apart else []
    return joined, "document", notes
  if in_order or task in _BY_POSITION:
    size = -(-len(placed) // min(BLOCKS, max(1, len(placed) // _MIN_BLOCK)))
    # Of fewer examples three parts could not each have a block.
    size = size if len(placed) >= 4 * _MIN_BLOCK else 1
    for index in range(len(placed)):
      units[index // size].append(index)
    return units, "position", []
  by_first: dict[Any, list[int]] = defaultdict(list)
  for index, item in enumerate(placed):
    units[text_key(item.example)].append(index)
    by_first[_first_text(item.example)].append(index)
  # A first text that many pairs share, as one question about all texts, cannot keep them together.
  largest = max(map(len, by_first.values()))
  return (by_first if largest <= _MAX_JOINED * len(placed) else units), "text", []


def _first_text(example: Any) -> Hashable:
  """Returns the first text of a pair, as the premise of several hypotheses; the key of any other example."""
  is_pair = isinstance(example, TextExample) and example.second_text
  return _plain(example.text) if is_pair else text_key(example)


def _join_units(placed: Sequence[Placed], units: dict[Any, list[int]]) -> dict[Any, list[int]]:
  """Returns the units with those joined that share a text; as they were if that joins most of the examples."""
  root: dict[Any, Any] = {unit: unit for unit in units}

  def find(unit: Any) -> Any:
    while root[unit] != unit:
      # Path halving: union-find stays near linear with a million documents.
      root[unit] = unit = root[root[unit]]
    return unit

  first: dict[Hashable, Any] = {}
  for unit, indices in units.items():
    for index in indices:
      other = find(first.setdefault(text_key(placed[index].example), unit))
      root[other] = find(unit)
  joined: dict[Any, list[int]] = defaultdict(list)
  for unit, indices in units.items():
    joined[find(unit)] += indices
  largest = max(map(len, joined.values()))
  return joined if largest <= _MAX_JOINED * len(placed) else units


def _draw_units(
  units: dict[Any, list[int]], wanted: dict[str, float], key: Callable[[Any], str], total: int
) -> dict[str, list[int]]:
  """Returns the indices of each wanted part: whole units in drawn order until the share is reached."""
  # A hash of seed and unit gives the order: further examples do not move those that were drawn before.
  waiting = sorted(units, key=key)
  chosen: dict[str, list[int]] = {}
  for part, share in wanted.items():
    goal = max(1, round(share * total)) if share else 0
    indices: list[int] = []
    rest = []
    for unit in waiting:
      size = len(units[unit])
      # A unit may exceed the share by a fifth, or a large document would leave the part nearly empty.
      if len(indices) < goal and (len(indices) + size <= 1.2 * goal or not indices):
        indices += units[unit]
      else:
        rest.append(unit)
    chosen[part], waiting = indices, rest
  return chosen


def _draw_stratified(
  placed: Sequence[Placed], units: dict[Any, list[int]], wanted: dict[str, float], key: Callable[[Any], str]
) -> dict[str, list[int]]:
  """Returns the indices of each wanted part, which holds the share of each class."""
  waiting = sorted(units, key=lambda unit: (placed[units[unit][0]].example.label, key(unit)))
  chosen: dict[str, list[int]] = {}
  left = 1.0
  for part, share in wanted.items():
    # Each part is drawn from what the parts before it left.
    ratio, left = share / left, left - share
    goal = max(1, round(ratio * len(waiting))) if share else 0
    ratio = goal / len(waiting)
    # Evenly spaced along the classes; half a step in, so that no class is favoured.
    takes = [int((i + 1) * ratio + 0.5) > int(i * ratio + 0.5) for i in range(len(waiting))]
    chosen[part] = [index for unit, take in zip(waiting, takes, strict=True) if take for index in units[unit]]
    waiting = [unit for unit, take in zip(waiting, takes, strict=True) if not take]
  return chosen


def _join_copies(placed: Sequence[Placed], part_of: dict[int, str]) -> list[str]:
  """Moves examples whose text is in several parts to train, or to development; returns a sentence about it."""
  parts_of: dict[Hashable, set[str]] = defaultdict(set)
  keys = [text_key(item.example) for item in placed]
  for index, key in enumerate(keys):
    parts_of[key].add(part_of.get(index, "train"))
  moved = 0
  for index, key in enumerate(keys):
    if len(parts_of[key]) > 1:
      # Towards train, never into test: a score on test must not rest on a text that was trained on.
      first = next(part for part in PARTS if part in parts_of[key])
      moved += part_of.get(index, "train") != first
      part_of[index] = first
  if not moved:
    return []
  return [
    f"{moved:,} examples repeat a text of another part and go where it is, so that no text is in two parts"
  ]


def _keep_labels(task: str, placed: Sequence[Placed], part_of: dict[int, str]) -> None:
  """Moves the documents of labels that train lacks to train."""
  if task not in ("classify", "tag"):
    return
  labels = [_labels_of(item.example) for item in placed]
  known: set[str] = set()
  for index, mine in enumerate(labels):
    if part_of.get(index, "train") == "train":
      known |= mine
  for index, mine in enumerate(labels):
    if mine <= known:
      continue
    document, key = placed[index].example.document, text_key(placed[index].example)
    for other, item in enumerate(placed):
      if other == index or (document and item.example.document == document) or text_key(item.example) == key:
        part_of[other] = "train"
        known |= labels[other]


def _labels_of(example: Any) -> set[str]:
  return set(example.tags) if isinstance(example, TaggedExample) else {example.label}


def _warn_of_copies(parts: Parts) -> list[str]:
  """Returns warnings about texts that the data itself gives to several parts."""
  keys = {part: {text_key(item.example) for item in items} for part, items in parts.items()}
  notes = []
  # A part that the data gives is the data's own decision, so copies are named and not moved.
  for first, second in (("train", "test"), ("train", "development"), ("development", "test")):
    shared = keys[first] & keys[second]
    if shared:
      notes.append(
        f"warning: {len(shared):,} texts of {second} are in {first} too; the parts are the data's own and stay"
      )
  return notes
