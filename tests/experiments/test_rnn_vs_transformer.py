"""The comparison runs from the command line, trains both at equal size, and refuses in a sentence."""

import json
from pathlib import Path

import pytest

from tests import programs

ROOT = Path(__file__).parents[2]
WORDS = "the model reads a row of words and says what comes next while its loss falls slowly".split()  # noqa: SIM905


def text(i):
  return " ".join(WORDS[(i * k + k // 3) % len(WORDS)] for k in range(1, 30)) + "."


def call(folder, *words):
  return programs.run([ROOT / "experiments/rnn_vs_transformer.py", *words], cwd=folder)


@pytest.fixture(scope="module")
def done(tmp_path_factory):
  folder = tmp_path_factory.mktemp("comparison")
  (folder / "texts.jsonl").write_text("".join(json.dumps({"text": text(i)}) + "\n" for i in range(200)))
  settings = {
    "data.corpus": "texts.jsonl", "data.tokenizer": "bpe", "data.vocab": 300, "data.length": 32, "data.batch": 4,
    "data.validation_fraction": 0.3, "data.validation_tokens": 600, "data.cache": "cache", "model.width": 24,
    "model.head_width": 8, "model.depth": 1, "steps": 30,
  }  # fmt: skip
  flags = [f"--config={ROOT / 'configs/rnn_vs_transformer.py'}"]
  flags += [f"--config.{name}={value}" for name, value in settings.items()]
  flags += ["--workdir=out", "--words=1,3,8", "--lengths=16,48", "--targets=40", "--recurrent=gru"]
  return folder, call(folder, *flags)


def test_both_models_are_trained_at_equal_size_on_equal_tokens(done):
  folder, process = done
  assert process.returncode == 0, process.stderr
  one, other = json.loads((folder / "out/rnn_vs_transformer.json").read_text())["models"]
  assert (one["family"], other["family"]) == ("decoder", "gru")
  assert one["tokens"] == other["tokens"] == 30 * 4 * 32
  assert one["params_total"] == pytest.approx(other["params_total"], rel=0.1)


def test_the_table_has_each_number_of_words_and_each_length(done):
  folder, process = done
  for row in json.loads((folder / "out/rnn_vs_transformer.json").read_text())["models"]:
    assert [point["words"] for point in row["by_words"]] == [1, 3, 8]
    assert all(0 < point["loss"] < 10 for point in row["by_words"])
    assert [point["length"] for point in row["by_length"]] == [16, 48]
    assert all(point["seconds_per_token"] > 0 for point in row["by_length"])
    kept = [point["remembered_bytes"] for point in row["by_length"]]
    assert kept[1] == (3 if row["family"] == "decoder" else 1) * kept[0]
  assert "words in sight" in process.stdout
  assert (folder / "out/rnn_vs_transformer.png").stat().st_size > 5000


@pytest.mark.parametrize(
  ("flags", "sentence"),
  [
    (["--words=1,two"], "--words=1,two: write whole numbers"),
    (["--config.model.family=encoder"], "model.family is encoder"),
  ],
)
def test_a_mistake_is_one_sentence(tmp_path, flags, sentence):
  process = call(tmp_path, f"--config={ROOT / 'configs/rnn_vs_transformer.py'}", *flags)
  assert process.returncode == 2
  assert sentence in process.stderr
  assert "Traceback" not in process.stderr
