"""Does a model answer better with a passage in front of it? Questions about documentation, with and without retrieval.

  uv run experiments/retrieval.py --checkpoint=runs/decoder
  uv run experiments/retrieval.py --checkpoint=runs/decoder --encoder=runs/encoder

The questions ask what parameters mean. They come from the validation split of the run's corpus; answers that occur in
the training text are left out. Each is evaluated without a passage, with passages from BM25 or from the encoder, with
the passage that holds the answer, and with a random passage.
Needs the extra `retrieval`. Writes retrieval.json with every prompt and its sources into the work folder.
"""

from absl import flags

from gen.cli import launch, shared_flags, terminal
from gen.errors import UserError
from gen.io import outputs, quantities

CHECKPOINT = shared_flags.define_checkpoint("Folder of a run of a decoder or a recurrent model.")
ENCODER = flags.DEFINE_string("encoder", "", "Folder of an encoder's run, for search by embeddings.")
QUESTIONS = quantities.DEFINE_integer("questions", 100, "Max questions.", lower_bound=2)
FOUND = quantities.DEFINE_integer("found", 2, "Passages retrieved per question.", lower_bound=1)
WORDS = quantities.DEFINE_integer("words", 30, "Max words of a passage.", lower_bound=1)
MAX_TOKENS = quantities.DEFINE_integer(
  "max_tokens", 32, "Max tokens of a generated answer.", lower_bound=1, upper_bound=1_000_000
)
SEED = shared_flags.define_seed("choice of questions and random passages")
WORKDIR = shared_flags.define_workdir("Folder of the results; empty: the checkpoint's, with _retrieval.")
JSON = outputs.DEFINE_json()


def main() -> int:
  """Evaluates answers with and without passages, and writes the results."""
  shared_flags.require_checkpoint(CHECKPOINT.value)
  from gen import versions
  from gen.data import corpus
  from gen.evaluation import retrieval_study
  from gen.evaluation.few_shot_tasks import docstring_questions
  from gen.generation import loaded_model, retrieval
  from gen.io import json_report

  report = terminal.print_progress
  restored = loaded_model.load_model(CHECKPOINT.value, report=report)
  if restored.model.family in ("encoder", "encoder_decoder"):
    family = restored.model.family.replace("_", "-")
    raise UserError(
      f"{restored.where} is an {family} and continues no text; take a decoder or a recurrent model"
    )
  text = corpus.build_corpus(loaded_model.read_run(CHECKPOINT.value).data, report)
  questions = docstring_questions.draw_questions(text.validation, text.train, QUESTIONS.value, SEED.value)
  passages = [
    passage
    for number, content in enumerate(text.validation)
    for passage in retrieval.split_passages(content, f"document {number}", WORDS.value)
  ]
  encoder = loaded_model.load_model(ENCODER.value, report=report) if ENCODER.value else None
  searches = retrieval_study.make_searches(passages, encoder, FOUND.value, SEED.value)
  answers = [
    retrieval_study.evaluate_search(name, restored, questions, search, MAX_TOKENS.value)
    for name, search in searches.items()
  ]
  rows = retrieval_study.compare_searches(answers)
  print(f"{restored.where}: {len(questions)} questions, {len(passages):,} passages")
  print("\n".join(retrieval_study.report_lines(rows)))
  workdir = shared_flags.result_folder(WORKDIR.value, f"{CHECKPOINT.value.rstrip('/')}_retrieval")
  results = {
    "checkpoint": restored.where, "passages": len(passages), "rows": rows, "versions": versions.installed_versions()
  }  # fmt: skip
  file = workdir / "retrieval.json"
  print(file)
  json_report.write_results(results, file, json_report.report_target(JSON.value))
  return 0


if __name__ == "__main__":
  launch.run_experiment(main, trains=False)
