"""Compares the scores that lm-evaluation-harness gives a model of gen through gen and through its own `hf` backend.

It runs in an environment of its own, for the latter needs torch and transformers:

    python3 -m venv peers && peers/bin/pip install '.[harness,interop]' 'lm_eval[hf]>=0.4.13,<0.5'
    peers/bin/python scripts/check_harness.py --folder=runs/harness

A tiny GPT-2 learns sentences such as "after nineteen comes twenty.", half of which it is then asked without having
read them. gen writes it in the Hugging Face format, and both backends read that directory. Tasks with data of their
own ask by choices with and without examples before them (which the window does not hold), by choices after nothing,
by what is written, and by texts longer than the window. The exit code is 1 if a score differs.
"""

import argparse
import json
import logging
import random
import sys
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

ONES = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
        "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen"]  # fmt: skip
TENS = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
END = "<|endoftext|>"
WINDOW, STEPS, BATCH = 48, 400, 16
TOLERANCE = 1e-3  # nats of a whole request


def main() -> int:
  """Makes the model and the tasks, evaluates twice, and compares."""
  parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
  parser.add_argument("--folder", type=Path, required=True, help="Where model and tasks are written.")
  folder = parser.parse_args().folder
  folder.mkdir(parents=True, exist_ok=True)
  make_model(folder / "model")
  make_tasks(folder / "tasks")
  return compare(scores(folder, "gen"), scores(folder, "hf"))


def word(number: int) -> str:
  """Returns an English number below 100."""
  if number < 20:
    return ONES[number]
  return TENS[number // 10 - 2] + (f"-{ONES[number % 10]}" if number % 10 else "")


def sentence(number: int, next_number: int | None = None) -> str:
  """Returns what comes after a number, or is said to."""
  return f"after {word(number)} comes {word(number + 1 if next_number is None else next_number)}."


def make_model(directory: Path) -> None:
  """Trains a tokenizer and a GPT-2, and writes both in the Hugging Face format."""
  import tokenizers
  from tokenizers import decoders, models, pre_tokenizers, trainers

  from gen import presets
  from gen.config import Model
  from gen.interop import huggingface
  from gen.models import language_model

  directory.mkdir(parents=True, exist_ok=True)
  spelled = tokenizers.Tokenizer(models.BPE())
  spelled.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
  spelled.decoder = decoders.ByteLevel()
  letters = pre_tokenizers.ByteLevel.alphabet()
  trainer = trainers.BpeTrainer(vocab_size=330, special_tokens=[END], initial_alphabet=letters)
  spelled.train_from_iterator([sentence(number) for number in range(99)], trainer)
  spelled.save(str(directory / "tokenizer.json"))
  named = {"tokenizer_class": "GPT2TokenizerFast", "bos_token": END, "eos_token": END, "unk_token": END}
  (directory / "tokenizer_config.json").write_text(json.dumps(named | {"model_max_length": WINDOW}))

  size = spelled.get_vocab_size()
  config: Model = presets.get_model("gpt2")
  shape = {"vocab": size, "width": 64, "depth": 2, "heads": 4, "head_width": 16, "feed_forward": 0}
  for name, value in (shape | {"context": WINDOW, "dropout": 0.0}).items():
    setattr(config, name, value)
  draw = random.Random(0)
  read = [number for number in range(99) if number % 2]
  texts = [" ".join(sentence(draw.choice(read)) for _ in range(12)) for _ in range(200)]
  ids = [[spelled.token_to_id(END), *spelled.encode(text).ids] for text in texts]
  rows_bt = np.array([row[: WINDOW + 1] for row in ids], np.int32)
  params = train(
    language_model.build_model(config),
    language_model.initialize_parameters(config, jax.random.key(0)),
    rows_bt,
  )
  huggingface.save_checkpoint(directory, config, jax.tree.map(np.asarray, params))
  written = directory / "config.json"
  ends = dict.fromkeys(("bos_token_id", "eos_token_id"), spelled.token_to_id(END))
  written.write_text(json.dumps(json.loads(written.read_text()) | ends, indent=1))


def train(module: Any, params: Any, rows_bt: np.ndarray) -> Any:
  """Returns parameters after a few hundred steps."""
  optimizer = optax.adam(3e-3)

  @jax.jit
  def step(params: Any, state: Any, rows_bt: jax.Array) -> tuple[Any, Any, jax.Array]:
    def loss(params: Any) -> jax.Array:
      logits_btv = module.apply({"params": params}, rows_bt[:, :-1])
      return optax.softmax_cross_entropy_with_integer_labels(logits_btv, rows_bt[:, 1:]).mean()

    value, gradient = jax.value_and_grad(loss)(params)
    change, state = optimizer.update(gradient, state)
    return optax.apply_updates(params, change), state, value

  state, draw = optimizer.init(params), np.random.default_rng(0)
  for _ in range(STEPS):
    params, state, value = step(params, state, jnp.asarray(rows_bt[draw.integers(0, len(rows_bt), BATCH)]))
  print(f"trained: {float(value):.3f} nats per token")
  return params


def make_tasks(folder: Path) -> None:
  """Writes the tasks and their data."""
  folder.mkdir(parents=True, exist_ok=True)
  draw = random.Random(1)
  questions = []
  for number in range(99):
    others = [sentence(number, draw.randrange(100)) for _ in range(3)]
    wrong = [wrong_sentence.split(" comes ")[1] for wrong_sentence in others]
    answer = draw.randrange(4)
    right = word(number + 1) + "."
    choices = [*wrong[:answer], right, *wrong[answer:]]
    questions.append(
      {
        "question": f"after {word(number)} comes", "choices": choices, "answer": answer, "target": f" {right[:-1]}",
        "sentences": [f"after {word(number)} comes {choice}" for choice in choices],
      }
    )  # fmt: skip
  documents = [
    {"text": " ".join(sentence(draw.randrange(99)) for _ in range(draw.randrange(1, 30)))} for _ in range(20)
  ]
  for name, rows in (("asked", questions), ("documents", documents)):
    (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
  means = [{"metric": name, "aggregation": "mean", "higher_is_better": True} for name in ("acc", "acc_norm")]
  choice = {"output_type": "multiple_choice", "doc_to_target": "answer", "metric_list": means}
  chosen = choice | {"doc_to_text": "{{question}}", "doc_to_choice": "{{choices}}"}
  exact = [{"metric": "exact_match", "aggregation": "mean", "higher_is_better": True}]
  tasks: dict[str, tuple[str, dict[str, Any]]] = {
    "numbers_choice": ("asked", chosen),
    "numbers_choice_shots": ("asked", chosen | {"num_fewshot": 6, "fewshot_split": "test"}),
    "numbers_sentence": ("asked", choice | {"doc_to_text": "", "doc_to_choice": "{{sentences}}"}),
    "numbers_written": ("asked", {
      "output_type": "generate_until", "doc_to_text": "{{question}}", "doc_to_target": "{{target}}",
      "generation_kwargs": {"until": ["."], "max_gen_toks": 12, "do_sample": False}, "metric_list": exact,
    }),
    "numbers_rolling": ("documents", {
      "output_type": "loglikelihood_rolling", "doc_to_text": "", "doc_to_target": "{{text}}",
      "metric_list": [{"metric": name} for name in ("word_perplexity", "byte_perplexity", "bits_per_byte")],
    }),
  }  # fmt: skip
  for name, (data, task) in tasks.items():
    files = {"data_files": {"test": str((folder / f"{data}.jsonl").resolve())}}
    common = {"task": name, "dataset_path": "json", "dataset_kwargs": files, "test_split": "test"}
    (folder / f"{name}.yaml").write_text(json.dumps(common | {"metadata": {"version": 1}} | task))


def scores(folder: Path, backend: str) -> Any:
  """Returns what the harness finds through a backend."""
  from lm_eval import evaluator
  from lm_eval import tasks as catalogue

  from gen.evaluation import harness

  harness.register_model()
  logging.getLogger("lm_eval").setLevel(logging.ERROR)  # hf warns about each truncated prompt
  named = {"gen": {"checkpoint": str(folder / "model")}, "hf": {"pretrained": str(folder / "model")}}
  return evaluator.simple_evaluate(
    model=backend, model_args=named[backend], device="cpu", batch_size=8, bootstrap_iters=0,
    tasks=sorted(path.stem for path in (folder / "tasks").glob("*.yaml")),
    task_manager=catalogue.TaskManager(include_path=str(folder / "tasks"), include_defaults=False),
  )  # fmt: skip


def compare(ours: Any, theirs: Any) -> int:
  """Prints the scores side by side and the largest difference between answers; returns 1 if they are not equal."""
  failed = False
  print(f"{'task':22} {'metric':16} {'gen':>10} {'hf':>10}")
  for task, values in ours["results"].items():
    for key, value in values.items():
      if isinstance(value, float):
        their_sample = theirs["results"][task][key]
        print(f"{task:22} {key.partition(',')[0]:16} {value:10.5f} {their_sample:10.5f}")
        failed |= not np.isclose(value, their_sample, rtol=1e-5, atol=0)
  for task in ours["samples"]:
    nats, texts, greedy, requests = 0.0, 0, 0, 0
    for our_sample, their_sample in zip(ours["samples"][task], theirs["samples"][task], strict=True):
      assert our_sample["arguments"] == their_sample["arguments"]
      for (our_text,), (their,) in zip(our_sample["resps"], their_sample["resps"], strict=True):
        requests += 1
        if isinstance(our_text, str):
          texts += our_text != their
        else:
          (our_text, best), (their, likeliest) = (
            x if isinstance(x, tuple) else (x, None) for x in (our_text, their)
          )
          nats, greedy = max(nats, abs(our_text - their)), greedy + (best != likeliest)
    print(
      f"{task:22} {requests} requests: largest difference {nats:.1e} nats, {greedy} greedy flags, {texts} texts"
    )
    failed |= nats > TOLERANCE or bool(texts or greedy)
  print("differ" if failed else "the same")
  return int(failed)


if __name__ == "__main__":
  from gen.cli import terminal

  sys.exit(terminal.run_at_terminal(main))
