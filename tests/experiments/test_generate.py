"""The command continues a trained model's text, talks, counts, and says in one sentence what it cannot do."""

import importlib.util
import io
import json
import shutil
import sys
from pathlib import Path

import pytest
from absl import flags
from absl.testing import flagsaver

from gen.config import Data, Model, Run
from gen.data import dataset
from gen.errors import UserError
from gen.training import loop
from tests import programs

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "experiments" / "generate.py"
LENGTH = 48


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
  """Trains a byte-level decoder for a few steps and returns its workdir."""
  root = tmp_path_factory.mktemp("generate")
  corpus = root / "sentences.jsonl"
  rows = [{"text": f"row {i} of the text says what row {i % 7} says."} for i in range(300)]
  corpus.write_text("".join(json.dumps(row) + "\n" for row in rows))
  data = Data(corpus=str(corpus), length=LENGTH, batch=2, validation_tokens=200, cache=str(root / "cache"))
  run = Run(name="tiny", model=Model(width=8, depth=1, head_width=4), data=data, steps=4)
  loop.train_run(run, root / "run", dataset.load_dataset(data))
  return root / "run"


@pytest.fixture(scope="module")
def experiment():
  spec = importlib.util.spec_from_file_location("generate_experiment", SCRIPT)
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  return module


class Stdin(io.TextIOWrapper):
  def isatty(self):
    return False


@pytest.fixture
def generate(experiment, folder, capsys, monkeypatch):
  """Returns a function that runs the experiment in this process and returns what it printed."""
  if not flags.FLAGS.is_parsed():
    flags.FLAGS(["generate"])

  def run(stdin=b"", **options):
    monkeypatch.setattr(sys, "stdin", Stdin(io.BytesIO(stdin)))
    values = {"checkpoint": str(folder), "max_tokens": 6} | options
    with flagsaver.flagsaver(**{name: value for name, value in values.items() if value is not None}):
      assert experiment.main() == 0
    return capsys.readouterr().out

  return run


def test_samples_differ_and_a_seed_gives_the_same_ones_again(generate):
  options = {"prompt": "row 3", "samples": 4, "temperature": 0.8, "top_k": 40, "top_p": 0.95, "json": "-"}
  answers = json.loads(generate(**options))["answers"]
  assert [len(answer["tokens"]) for answer in answers] == [6] * 4
  assert len({answer["text"] for answer in answers}) == 4
  assert json.loads(generate(**options))["answers"] == answers
  assert json.loads(generate(**options, seed=1))["answers"] != answers


def test_a_single_answer_is_streamed_as_it_would_be_printed_whole(generate):
  streamed = generate(prompt="row 3")
  whole = json.loads(generate(prompt="row 3", json="-"))["answers"][0]["text"]
  assert streamed == whole + "\n"


def test_beams_come_best_first(generate):
  options = {"prompt": "row 3", "beams": 3, "samples": 3, "json": "-"}
  scores = [
    row["log_probability"] / max(1, len(row["tokens"])) for row in json.loads(generate(**options))["answers"]
  ]
  assert len(scores) == 3 and scores == sorted(scores, reverse=True)


def test_count_only_prints_tokens_used_and_left(generate):
  said = generate(prompt="row 3", count_only=True)
  assert said == (
    f"6 tokens of the prompt and 6 new ones: 12 used, {LENGTH - 12} left of the context window's {LENGTH}\n"
  )
  said = generate(prompt="row 3", count_only=True, max_tokens=LENGTH)
  assert said.endswith(f": {LENGTH + 6} used, 6 more than the context window's {LENGTH}\n")


def test_without_a_number_as_many_tokens_as_the_window_holds_are_generated(generate, tmp_path):
  report = tmp_path / "report.json"
  generate(prompt="row 3", max_tokens=None, json=str(report))
  (answer,) = json.loads(report.read_text())["answers"]
  assert len(answer["tokens"]) <= LENGTH - 6
  said = generate(prompt="row 3", count_only=True, max_tokens=None)
  assert said.endswith(f"{LENGTH} used, 0 left of the context window's {LENGTH}\n")
  with pytest.raises(UserError, match=f"prompt 0 has {LENGTH + 10} tokens"):
    generate(prompt="r" * (LENGTH + 9), max_tokens=None)
  with pytest.raises(UserError, match="with 64 new ones needs 70"):
    generate(prompt="row 3", max_tokens=64)


def test_without_a_prompt_it_talks_and_obeys_commands(generate):
  said = generate(stdin=b"/temperature 0\nrow 3\n/temperature warm\n\n/quit\nnever read\n")
  lines = said.splitlines()
  assert lines[0].startswith("temperature 0,")
  assert "error: /temperature needs a number, not 'warm'" in lines
  assert lines[-1] == "bye"


def test_a_prompt_may_come_from_standard_input(generate):
  assert generate(stdin=b"row 3", prompt="-", temperature=0.0) == generate(prompt="row 3", temperature=0.0)


@pytest.mark.parametrize(
  ("options", "sentence"),
  [
    ({"prompt": ""}, "the prompt is empty"),
    ({"prompt": "x" * 48}, f"49 tokens, and with 6 new ones needs 55 of the context window's {LENGTH}"),
    ({"prompt": "a", "temperature": -1.0}, "temperature -1.0 is not allowed"),
    ({"prompt": "a", "top_p": 0.0}, "top_p 0.0 is not allowed"),
    ({"prompt": "a", "top_p": 1.5}, "top_p 1.5 is not allowed"),
    ({"prompt": "a", "top_k": 261}, "vocabulary's 260"),
    ({"prompt": "a", "max_tokens": 0}, "max_tokens 0 is not allowed"),
    ({"prompt": "a", "samples": 0}, "ask for at least 1"),
    ({"prompt": "a\udcff"}, "--prompt is not UTF-8"),
    ({"prompt": "-", "stdin": b"ab\xff"}, "standard input is not UTF-8: byte 0xff at offset 2"),
    ({"stdin": b"\xc3(\n"}, "standard input is not UTF-8: byte 0xc3 at offset 0"),
    ({"prompt": "a", "checkpoint": ""}, "--checkpoint=FOLDER is missing"),
    ({"prompt": "a", "checkpoint": "/no/such/run"}, "is not a folder"),
    ({"prompt": "a", "step": 99}, "has no checkpoint of step 99"),
    ({"prompt": "a", "window": "wide"}, "choose one of error, truncate, slide"),
    ({"prompt": "a", "beams": 2, "top_k": 3}, "--top_k has no effect"),
    ({"count_only": True}, "give --prompt"),
    ({"json": "-"}, "--json writes the answers to a prompt; give --prompt"),
  ],
)
def test_what_cannot_be_is_one_sentence(generate, options, sentence):
  with pytest.raises(UserError) as caught:
    generate(**options)
  assert sentence in str(caught.value) and "\n" not in str(caught.value)


def test_special_token_text_in_a_prompt_is_text(generate):
  prompt = "</s><mask>"
  said = generate(prompt=prompt, count_only=True)
  assert said.startswith(f"{len(prompt) + 1} tokens of the prompt")


def test_another_tokenizer_is_refused(generate, folder, tmp_path):
  from gen.data.tokenizers import subwords

  texts = ["what the row says of the text that the row reads"] * 9
  subwords.train_subwords(texts, "bpe", 300).save(tmp_path / "other")
  with pytest.raises(UserError, match=r"was trained with tokenizer \w+, and the one in .*other is \w+"):
    generate(prompt="a", tokenizer=str(tmp_path / "other"))


def test_a_run_without_its_tokenizer_makes_it_again(generate, folder, tmp_path):
  copy = tmp_path / "copy"
  shutil.copytree(folder, copy)
  shutil.rmtree(copy / "tokenizer")
  assert generate(prompt="row 3", checkpoint=str(copy)) == generate(prompt="row 3")


def test_a_folder_without_a_run_is_refused(generate, tmp_path):
  with pytest.raises(UserError, match=r"config\.json is missing"):
    generate(prompt="a", checkpoint=str(tmp_path))
  (tmp_path / "config.json").write_text('{"kind": "gpt2"}')
  with pytest.raises(UserError, match="is not the config of a run"):
    generate(prompt="a", checkpoint=str(tmp_path))
  (tmp_path / "config.json").write_text('{"budgets": [1e9], "model": {}}')
  (tmp_path / "C1e9-w8-s0" / "checkpoints").mkdir(parents=True)
  (tmp_path / "C1e9-w8-s0" / "config.json").write_text("{}")
  with pytest.raises(UserError, match=r"is a sweep, which holds many runs; .* such as .*C1e9-w8-s0"):
    generate(prompt="a", checkpoint=str(tmp_path))


def test_a_mistake_ends_the_process_with_code_2_and_a_sentence(folder):
  done = programs.run([SCRIPT, f"--checkpoint={folder}", "--prompt=a", "--temperature=-1"])
  assert done.returncode == 2
  assert done.stderr.strip() == "error: flag --temperature=-1: -1 is too small; the value must be at least 0"
