"""Does a model answer better with a passage in front of it? Questions about documentation, with and without retrieval.

  uv run experiments/retrieval.py --checkpoint=runs/decoder
  uv run experiments/retrieval.py --checkpoint=runs/decoder --encoder=runs/encoder

The questions are what parameters mean, from the validation side of the run's corpus; answers that stand in the training
text are left out. Each is judged alone, after what BM25 finds, after what the encoder finds, after the passage that
answers it, and after a passage drawn at random.
Needs the extra `retrieval`. Writes retrieval.json with every prompt and its sources into the work folder.
"""

import json
import random
import sys
from pathlib import Path
from typing import Any

from absl import flags

from gen.cli import launch
from gen.errors import UserError
from gen.io import outputs, quantities

CHECKPOINT = flags.DEFINE_string("checkpoint", "", "Folder of a decoder's or recurrent model's run.")
ENCODER = flags.DEFINE_string("encoder", "", "Folder of an encoder's run, for search by embeddings.")
QUESTIONS = quantities.DEFINE_integer("questions", 100, "Questions at most.", lower_bound=2)
FOUND = quantities.DEFINE_integer("found", 2, "Passages that are searched for.", lower_bound=1)
WORDS = quantities.DEFINE_integer("words", 30, "Words of a passage at most.", lower_bound=1)
MAX_TOKENS = quantities.DEFINE_integer(
  "max_tokens", 32, "Of an answer that is written.", lower_bound=1, upper_bound=1_000_000
)
SEED = quantities.DEFINE_integer(
  "seed", 0, "Of the choice of questions.", lower_bound=0, upper_bound=2**32 - 1
)
WORKDIR = outputs.DEFINE_folder(
  "workdir", "", "Folder of the result; empty: the checkpoint's, with _retrieval."
)
JSON = outputs.DEFINE_json()


def main() -> int:
  """Evaluates answers with and without passages, and writes the results."""
  if not CHECKPOINT.value:
    raise UserError("--checkpoint=FOLDER is missing; give the --workdir of a run of experiments/pretrain.py")
  from gen.data import corpus
  from gen.evaluation import docstring_questions
  from gen.generation import loaded_model, retrieval

  def report(line: str) -> None:
    print(line, file=sys.stderr)

  restored = loaded_model.load_model(CHECKPOINT.value, report=report)
  if restored.model.family in ("encoder", "encoder_decoder"):
    raise UserError(f"{restored.where} continues no text; take a decoder or a recurrent model")
  text = corpus.build_corpus(loaded_model.read_run(CHECKPOINT.value).data, report)
  questions = docstring_questions.draw_questions(text.validation, text.train, QUESTIONS.value, SEED.value)
  passages = [
    passage
    for number, content in enumerate(text.validation)
    for passage in retrieval.split_passages(content, f"document {number}", WORDS.value)
  ]
  searches: dict[str, Any] = {"alone": lambda question: []}
  bm25 = retrieval.Bm25Index(passages)
  searches["BM25"] = lambda question: bm25.search(question.query, FOUND.value)
  if ENCODER.value:
    embedded = retrieval.EmbeddingIndex(passages, loaded_model.load_model(ENCODER.value, report=report))
    searches["embeddings"] = lambda question: embedded.search(question.query, FOUND.value)
  draw = random.Random(SEED.value)
  searches["the right passage"] = lambda question: _right(passages, question)
  searches["a random passage"] = lambda question: [_found(passages, draw.randrange(len(passages)))]
  rows = [_asked(name, restored, questions, search) for name, search in searches.items()]
  _write(restored.where, len(passages), rows)
  return 0


def _found(passages: list[Any], number: int) -> Any:
  from gen.generation import retrieval

  return retrieval.RetrievedPassages(number, passages[number], 0.0)


def _right(passages: list[Any], question: Any) -> list[Any]:
  """Returns the first passage of the question's document that holds the answer, if one does."""
  source = f"document {question.document}"
  able = [i for i, one in enumerate(passages) if one.source == source and question.answer in one.text]
  return [_found(passages, number) for number in able[:1]]


def _asked(name: str, restored: Any, questions: list[Any], search: Any) -> dict[str, Any]:
  """Returns the row of a way to search: likelihood and exact match of each answer, with its prompt and sources."""
  import jax

  from gen.evaluation import likelihood
  from gen.generation import retrieval, text
  from gen.generation.sampling import GREEDY

  room = max(MAX_TOKENS.value, *(len(restored.tokenizer.encode(question.answer)) for question in questions))
  asked = [retrieval.ground_question(restored, each.prompt, search(each), room) for each in questions]
  judged = likelihood.answer_likelihoods(
    restored, [(one.prompt, each.answer) for one, each in zip(asked, questions, strict=True)]
  )
  limits: dict[str, Any] = {"max_tokens": MAX_TOKENS.value, "stop_strings": ("\n",)}
  written: list[Any] = []
  for begin in range(0, len(asked), 16):
    prompts = [one.prompt for one in asked[begin : begin + 16]]
    (part,) = text.stream_answers(restored, prompts, GREEDY, jax.random.key(0), **limits)
    written += part
  answers = [
    {
      "prompt": one.prompt, "sources": one.sources, "expected": each.answer, "given": said.text.strip(),
      "correct": said.text.strip() == each.answer, "nats": nats.log_probability, "tokens": nats.tokens,
      "found": any(each.answer in found.passage.text for found in one.used),
    }
    for one, each, nats, said in zip(asked, questions, judged, written, strict=True)
  ]  # fmt: skip
  return {"name": name, "answers": answers}


def _write(where: str, passages: int, rows: list[dict[str, Any]]) -> None:
  import numpy as np

  from gen import versions
  from gen.io import json_report

  bare = np.array([-one["nats"] / one["tokens"] for one in rows[0]["answers"]])
  print(f"{where}: {len(bare)} questions, {passages:,} passages")
  print(
    f"{'':>18}  {'answer in prompt':>16}  {'nats per token':>14}  {'less than alone':>18}  {'exact match':>11}"
  )
  for row in rows:
    nats = np.array([-one["nats"] / one["tokens"] for one in row["answers"]])
    gains = bare - nats
    error = gains.std(ddof=1) / np.sqrt(len(gains))
    row |= {
      "nats_per_token": float(nats.mean()), "gain": float(gains.mean()), "gain_error": float(error),
      "exact_match": float(np.mean([one["correct"] for one in row["answers"]])),
      "found": float(np.mean([one["found"] for one in row["answers"]])),
    }  # fmt: skip
    gain = f"{row['gain']:.3f} ± {row['gain_error']:.3f}"
    cells = f"{row['found']:>16.2f}  {row['nats_per_token']:>14.3f}  {gain:>18}  {row['exact_match']:>11.3f}"
    print(f"{row['name']:>18}  {cells}")
  workdir = Path(WORKDIR.value or f"{CHECKPOINT.value.rstrip('/')}_retrieval")
  workdir.mkdir(parents=True, exist_ok=True)
  found = {"checkpoint": where, "passages": passages, "rows": rows, "versions": versions.installed_versions()}
  (workdir / "retrieval.json").write_text(json.dumps(found, indent=1) + "\n")
  print(workdir / "retrieval.json")
  json_report.write_report(found, json_report.report_target(JSON.value))


if __name__ == "__main__":
  launch.run_experiment(main, trains=False)
