"""The experiments on prompting run from the command line, keep every prompt, and refuse in a sentence."""

import json
import os
from pathlib import Path

import pytest

from gen.config import Data, Model, Run
from gen.data import dataset
from gen.training import loop
from tests import programs

ROOT = Path(__file__).parents[2]


def call(folder, script, *words):
  environment = os.environ | {"GEN_CACHE": str(folder / "cache")}
  return programs.run([ROOT / "experiments" / script, *words], cwd=folder, env=environment)


def flags(config, **settings):
  return [
    f"--config={ROOT / 'configs' / config}",
    *(f"--config.{name.replace('__', '.')}={value}" for name, value in settings.items()),
  ]


@pytest.mark.parametrize("family", ["decoder", "encoder_decoder"])
def test_examples_in_the_prompt_are_set_beside_fine_tuning_on_them(tmp_path, family):
  process = call(
    tmp_path, "in_context.py", *flags("in_context.py", steps=3, data__batch=2, model__depth=1), "--widths=16",
    f"--families={family}", "--recurrent=none", "--ks=0,2", "--tuned=1,2", "--questions=4", "--mappings=2",
    "--pairs=4", "--letters=3", "--workdir=out",
  )  # fmt: skip
  assert process.returncode == 0, process.stderr
  found = json.loads((tmp_path / "out/in_context.json").read_text())
  assert [row["name"] for row in found["models"]] == [f"{family} 16"]
  for row in found["models"]:
    for kind in ("letter", "digit"):
      assert [point["k"] for point in row["kinds"][kind]["in_context"]] == [0, 2]
      assert [point["k"] for point in row["kinds"][kind]["tuned"]] == [1, 2]
      assert all(point["flops"] <= point["context_flops"] for point in row["kinds"][kind]["tuned"])
  answers = [json.loads(line) for line in (tmp_path / "out/answers.jsonl").read_text().splitlines()]
  assert len(answers) == 2 * 2 * 4
  assert all(len(answer["prompt"].split()) == answer["k"] + 1 for answer in answers)
  assert "in the prompt" in process.stdout and (tmp_path / "out/in_context.png").stat().st_size > 5000


def test_a_calculator_is_set_beside_none(tmp_path):
  process = call(
    tmp_path, "tools.py", *flags("tools.py", steps=2, data__batch=2, model__depth=1, model__width=16),
    "--digits=2", "--questions=3", "--workdir=out",
  )  # fmt: skip
  assert process.returncode == 0, process.stderr
  rows = json.loads((tmp_path / "out/tools.json").read_text())["rows"]
  assert [row["name"] for row in rows] == [
    "calls, with the calculator", "calls, without calculator", "trained without calls",
  ]  # fmt: skip
  assert rows[2]["flops"] == pytest.approx(rows[0]["flops"], rel=0.5)
  assert all(len(row["texts"]) == 3 for row in rows)
  assert all(one["prompt"] == rows[2]["texts"][i]["prompt"] for i, one in enumerate(rows[0]["texts"]))


@pytest.mark.parametrize(
  ("script", "words", "sentence"),
  [
    ("in_context.py", ["--ks=0,many"], "--ks=0,many: write whole numbers of at least 0"),
    ("in_context.py", ["--families=decoder,rnn"], "--families: 'rnn' is not a transformer family"),
    ("in_context.py", ["--families=", "--recurrent=none"], "no model to train"),
    ("in_context.py", ["--ks=12"], "do not fit into --pairs=12"),
    ("in_context.py", ["--tuned=40"], "--tuned=40 leaves no word for the question"),
    ("tools.py", ["--digits=0"], "--digits=0: 0 is too small"),
  ],
)
def test_a_mistake_is_one_sentence(tmp_path, script, words, sentence):
  process = call(tmp_path, script, f"--config={ROOT / 'configs' / script}", *words)
  assert process.returncode == 2
  assert sentence in process.stderr and "Traceback" not in process.stderr


DOCUMENT = """Sums the array number {i} along an axis.

Args:
    axis (int): The axis along which to sum the array {i} up.
    where (array of bool): Which of the elements of {i} are included.

Returns:
    The sum of the elements, an array with an axis less than before.

"""


@pytest.fixture(scope="module")
def run(tmp_path_factory):
  folder = tmp_path_factory.mktemp("run")
  rows = [json.dumps({"text": DOCUMENT.format(i=i)}) for i in range(40)]
  (folder / "texts.jsonl").write_text("\n".join(rows) + "\n")
  shape = Model(width=16, depth=1, head_width=8, context=320)
  data = Data(
    corpus=f"jsonl:{folder / 'texts.jsonl'}", length=64, batch=2, validation_fraction=0.3, validation_tokens=500,
    cache=str(folder / "cache"),
  )  # fmt: skip
  loop.train_run(
    Run(name="small", model=shape, data=data, steps=2), folder / "small", dataset.load_dataset(data)
  )
  return folder


def test_settings_are_shown_for_a_trained_model(run):
  process = call(
    run, "decoding.py", "--checkpoint=small", "--prompt=The", "--samples=2", "--tokens=6", "--temperatures=0",
    "--count=4", "--settings=greedy,top-p 0.8",
  )  # fmt: skip
  assert process.returncode == 0, process.stderr
  found = json.loads((run / "small_decoding/decoding.json").read_text())
  assert len(found["tokens"]) == 4 and [one["setting"] for one in found["next"]] == ["greedy", "top-p 0.8"]
  assert [one["temperature"] for one in found["temperatures"]] == [0]
  assert all(
    (run / f"small_decoding/{name}.png").stat().st_size > 5000 for name in ("next_token", "decoding")
  )


def test_answers_are_set_beside_those_with_passages(run):
  process = call(
    run, "retrieval.py", "--checkpoint=small", "--questions=6", "--max_tokens=4", "--found=1", "--words=25"
  )
  assert process.returncode == 0, process.stderr
  rows = json.loads((run / "small_retrieval/retrieval.json").read_text())["rows"]
  assert [row["name"] for row in rows] == ["alone", "BM25", "the right passage", "a random passage"]
  alone, found, right, _ = rows
  assert alone["found"] == 0 and right["found"] == 1 and alone["gain"] == 0
  for without, with_passage in zip(alone["answers"], found["answers"], strict=True):
    assert with_passage["prompt"].endswith(without["prompt"]) and without["sources"] == []
    assert with_passage["sources"] and with_passage["expected"] == without["expected"]


def test_questions_about_sentences_are_asked_of_a_checkpoint(run):
  process = call(
    run, "few_shot.py", "--checkpoint=small", "--tasks=package,kind,ending", "--ks=0,1,40", "--questions=48"
  )
  assert process.returncode == 0, process.stderr
  found = json.loads((run / "small_few_shot/few_shot.json").read_text())
  assert [row["task"] for row in found["rows"]] == ["package", "kind", "ending"]
  assert [row["chance"] for row in found["rows"]] == [0.25, 0.5, 0.25]
  for row in found["rows"]:
    assert [point["k"] for point in row["points"]] == [0, 1] and row["points"][0]["share"] == 0
    assert row["beyond"]["40"] > row["window"]
  answers = [json.loads(line) for line in (run / "small_few_shot/answers.jsonl").read_text().splitlines()]
  assert len(answers) == 3 * 2 * 48 and all(one["prompt"].count("\n") == one["k"] for one in answers)
  assert (run / "small_few_shot/few_shot.png").stat().st_size > 5000
  assert "need up to" in process.stdout


@pytest.mark.parametrize(
  ("words", "sentence"),
  [
    ([], "--checkpoint=FOLDER is missing"),
    (["--checkpoint=nowhere", "--ks=one"], "--ks=one: write whole numbers of at least 0"),
    (["--checkpoint=nowhere", "--tasks=sum"], "--tasks=sum: choose from package, kind, ending"),
    (["--checkpoint=nowhere"], "nowhere is not a folder"),
    (["--checkpoint=small", "--ks=40"], "even 40 examples of task package need"),
  ],
)
def test_a_mistaken_question_is_one_sentence(run, words, sentence):
  process = call(run, "few_shot.py", *words)
  assert process.returncode == 2
  assert sentence in process.stderr and "Traceback" not in process.stderr
