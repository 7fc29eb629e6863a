"""Few-shot tasks whose items are the first sentences of docstrings, from files outside the training corpus of `gen`.

    package    Return the cosine of x. [numpy]            which package is it from?
    kind       A scalar that knows its units. [class]     is it about a class or a function?
    ending     Return the cosine | of x.                  how does it end? three other endings are offered

The files are the validation side of the environment corpus; sentences that also occur in the training text are
excluded. Each answer is equally frequent, so the accuracy of guessing is one over the number of choices.
"""

import ast
import inspect
import random
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from gen.data import corpus
from gen.data.sources.python_packages import environment
from gen.errors import UserError
from gen.evaluation.few_shot_tasks import few_shot
from gen.generation import prompts, text
from gen.generation.decoding import decoders
from gen.generation.loaded_model import LoadedModel
from gen.generation.prompts import Item, PromptLayout, PromptTemplate

TASKS = ("package", "kind", "ending")
PACKAGES = ENDINGS = 4  # number of choices, as in most tests of multiple choice
# Of a sentence; chosen: long enough to tell its source, short enough for many examples in a window of 128.
MIN_WORDS, MAX_WORDS = 4, 7
MIN_ITEMS = 2  # per answer: one question, one example


class Sentence(NamedTuple):
  """The first sentence of a docstring.

  Attributes:
    text: itself.
    kind: class or function.
    package: of its file.
  """

  text: str
  kind: str
  package: str


class SentenceTask(NamedTuple):
  """Questions of one form.

  Attributes:
    name: one of `TASKS`.
    layout: how a prompt is made.
    items: questions with their answers, and the choices of each, a line each.
    chance: accuracy of guessing.
  """

  name: str
  layout: PromptLayout
  items: list[dict[str, str]]
  chance: float


def held_out_sentences(
  fraction: float, trained: Iterable[str] = (), max_words: int = MAX_WORDS
) -> list[Sentence]:
  """Returns sentences of the environment's validation files, in the order of the files.

  Args:
    fraction: of files used for validation.
    trained: training documents; sentences that are a line of one are excluded.
    max_words: of a sentence.
  """
  known = {line.strip(" \t'\"") for document in trained for line in document.splitlines()}
  sentences: dict[str, Sentence] = {}
  unclear: set[str] = set()
  for name, path in environment.python_files():
    if corpus.split_position(name) >= fraction:
      continue
    package = name.split("/")[0].removesuffix(".py")
    for kind, line in read_sentences(path.read_bytes()):
      sentence = Sentence(line, kind, package)
      if MIN_WORDS <= len(line.split()) <= max_words and line not in known:
        # A sentence of two packages or kinds has no right answer.
        unclear |= {line} if sentences.setdefault(line, sentence) != sentence else set()
  return [sentence for sentence in sentences.values() if sentence.text not in unclear]


def read_sentences(source: bytes) -> Iterator[tuple[str, str]]:
  r"""Yields what each class and function of a Python file is and the first line of its docstring, if a sentence.

  >>> list(read_sentences(b'def f():\n  "Return one."\nclass C:\n  "no end"'))
  [('function', 'Return one.')]
  """
  try:
    tree = ast.parse(source)
  except (SyntaxError, ValueError, RecursionError, MemoryError):
    return
  for node in ast.walk(tree):
    if not isinstance(node, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
      continue
    content = inspect.cleandoc(ast.get_docstring(node, clean=False) or "")
    line = content.partition("\n")[0].strip()
    # The mark of a blank must not be part of a question.
    if line.endswith(".") and line.isascii() and line.isprintable() and text.BLANK not in line:
      yield "class" if isinstance(node, ast.ClassDef) else "function", line


def make_task(name: str, sentences: Sequence[Sentence], count: int, seed: int = 0) -> SentenceTask:
  """Returns a task of so many questions at most, each answer right equally often.

  Args:
    name: one of `TASKS`.
    sentences: to be asked about.
    count: questions at most.
    seed: of their choice and order.

  Raises:
    UserError: for an unknown name, or too few sentences.
  """
  if name not in TASKS:
    raise UserError(f"there is no task {name!r}; choose from {', '.join(TASKS)}")
  # A text as seed is hashed by SHA-512, alike in every process.
  draw = random.Random(f"{seed} {name}")
  if name == "ending":
    return _endings(sentences, count, draw)
  groups: dict[str, list[str]] = {}
  for sentence in sentences:
    groups.setdefault(getattr(sentence, name), []).append(sentence.text)
  # The packages with the most sentences: each answer needs the same number of questions.
  largest = sorted(groups, key=lambda answer: (-len(groups[answer]), answer))[:PACKAGES]
  each = min([count // len(largest), *(len(groups[answer]) for answer in largest)]) if largest else 0
  if len(largest) < 2 or each < MIN_ITEMS:
    raise UserError(
      f"task {name} needs two answers with {MIN_ITEMS} sentences each, and {count} questions of"
      f" {len(sentences)} held-out sentences do not give them; ask for more, or allow longer sentences"
    )
  choices = "\n".join(sorted(largest))
  items = [
    {"sentence": line, name: answer, "choices": choices}
    for answer in sorted(largest)
    for line in draw.sample(groups[answer], each)
  ]
  draw.shuffle(items)
  layout = PromptLayout(PromptTemplate(f"{{sentence}} [{{{name}}}]"), answer=name, separator="\n")
  return SentenceTask(name, layout, items, 1 / len(largest))


def _endings(sentences: Sequence[Sentence], count: int, draw: random.Random) -> SentenceTask:
  """Returns the questions how sentences end."""
  halves: dict[str, str] = {}
  for sentence in draw.sample(list(sentences), len(sentences)):
    words = sentence.text.split()
    beginning, ending = (" ".join(part) for part in (words[: len(words) // 2], words[len(words) // 2 :]))
    # Of two equal endings both would be right.
    if ending not in halves.values():
      halves.setdefault(beginning, ending)
  chosen = list(halves.items())[:count]
  if len(chosen) < ENDINGS:
    raise UserError(f"task ending needs {ENDINGS} sentences and has {len(chosen)}; ask for more questions")
  items = []
  for beginning, ending in chosen:
    others = draw.sample([candidate for _, candidate in chosen if candidate != ending], ENDINGS - 1)
    choices = "\n".join(draw.sample([ending, *others], ENDINGS))
    items.append({"beginning": beginning, "ending": ending, "choices": choices})
  layout = PromptLayout(
    PromptTemplate("{beginning} {ending}"), answer="ending", separator="\n", balanced=False
  )
  return SentenceTask("ending", layout, items, 1 / ENDINGS)


def answer_choices(item: Item) -> list[str]:
  """Returns what an item offers."""
  return item["choices"].split("\n")


def tokens_needed(restored: LoadedModel, task: SentenceTask, k: int, seed: int = 0) -> int:
  """Returns the tokens that the longest prompt with k examples takes together with the longest of its choices."""
  blank = prompts.blank_of(restored.model.family, restored.reading.objective)
  sizes = []
  for item in task.items:
    prompt = task.layout.few_shot(item, task.items, k, seed, blank)
    longest = max(len(restored.tokenizer.encode(choice)) for choice in answer_choices(item))
    sizes.append(len(text.prompt_ids(restored, prompt.text)) + longest)
  return max(sizes)


def fits_window(restored: LoadedModel, task: SentenceTask, k: int, seed: int = 0) -> bool:
  """Returns whether all prompts with k examples lie in a model's window with their answers."""
  window = decoders.window_length(restored.model)
  return not window or tokens_needed(restored, task, k, seed) <= window


def accuracy_curve(
  restored: LoadedModel, task: SentenceTask, ks: Sequence[int], seed: int = 0, normalize: str = "none"
) -> list[few_shot.FewShotResult]:
  """Returns the accuracy with each number of examples whose prompts fit into the window; all others are left out.

  Args:
    restored: a model of any family.
    task: the questions; examples are others of them.
    ks: numbers of examples.
    seed: of the examples' choice.
    normalize: what log-probabilities are divided by, none, tokens or bytes.

  Raises:
    UserError: if no number fits, or for what `few_shot.by_likelihood` refuses.
  """
  able = [k for k in ks if fits_window(restored, task, k, seed)]
  if not able:
    raise UserError(
      f"{restored.where}: even {min(ks)} examples of task {task.name} need "
      f"{tokens_needed(restored, task, min(ks), seed)}"
      f" tokens, and the window has {decoders.window_length(restored.model)}; take fewer examples or shorter sentences"
    )
  return [
    few_shot.by_likelihood(
      restored, task.layout, task.items, task.items, answer_choices, k, seed=seed, normalize=normalize
    )
    for k in able
  ]
