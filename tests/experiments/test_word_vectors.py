"""The experiment from the shell: what it prints, what it writes, and what it refuses."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from gen.evaluation.words import word_vectors
from tests import programs

ROOT = Path(__file__).parents[2]
COLOURS, BEASTS = ("red", "green", "blue", "white"), ("cat", "dog", "cow", "hen")


def command(*arguments):
  return programs.run(["experiments/word_vectors.py", *arguments])


@pytest.fixture(scope="module")
def done(tmp_path_factory):
  folder = tmp_path_factory.mktemp("words")
  rng = np.random.default_rng(0)
  with (folder / "corpus.jsonl").open("w") as stream:
    for number in range(500):
      colour, beast = rng.choice(COLOURS), rng.choice(BEASTS)
      text = f"paint wall {colour} with brush . feed hungry {beast} some corn </script> {number}"
      stream.write(json.dumps({"text": text}) + "\n")
  result = command(
    f"--corpus=jsonl:{folder / 'corpus.jsonl'}", f"--cache={folder / 'cache'}", f"--workdir={folder / 'out'}",
    "--width=8", "--rows=8", "--epochs=25", "--threshold=0", "--learning_rate=0.02", "--window=2",
    "--words=red,dog", "--analogies=red:green:white", "--shown=9",
  )  # fmt: skip
  assert result.returncode == 0, result.stderr
  return folder / "out", result.stdout


def test_words_that_share_contexts_are_printed_as_neighbours(done):
  lines = {line.split()[0]: line.split(maxsplit=1)[1].split(", ") for line in done[1].splitlines()[:2]}
  assert set(lines["red"][:3]) == set(COLOURS) - {"red"}
  assert set(lines["dog"][:3]) == set(BEASTS) - {"dog"}
  assert re.search(r"red : green :: white : \?  blue [01]\.\d\d", done[1])


def test_vectors_are_written_in_both_formats_alike(done):
  first, second = (word_vectors.load_vectors(done[0] / name) for name in ("vectors.npz", "vectors.txt"))
  assert first.words == second.words
  assert first.vectors_vd.shape == (len(first.words), 8)
  np.testing.assert_array_equal(first.vectors_vd, second.vectors_vd)


def test_saved_vectors_answer_again_without_training(done):
  folder, printed = done
  again = command(f"--vectors={folder / 'vectors.txt'}", "--words=red,dog", "--analogies=red:green:white")
  assert (again.returncode, again.stdout, again.stderr) == (0, printed, "")


def test_the_page_holds_all_of_itself_and_the_cloud(done):
  text = (done[0] / "cloud.html").read_text()
  assert not re.search(r"https?://|<link|src=|@import|url\(", text)
  assert text.count("</script>") == 1  # no word of the corpus ends the script
  data = json.loads(re.search(r"const data = (.*);\n", text).group(1))
  assert len(data["words"]) == len(data["points"]) == len(data["near"]) == 9
  points = np.array(data["points"])
  np.testing.assert_allclose(points.mean(0), 0, atol=1e-3)
  assert (done[0] / "cloud.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
  ("argument", "said"),
  [("--analogies=red:green", "write a:b:c"), ("--corpus=/no/such/place", "no such"), ("--kind=glove", "kind")],
)  # fmt: skip
def test_a_mistake_is_said_in_one_line(argument, said, tmp_path):
  result = command(argument, f"--cache={tmp_path}", f"--workdir={tmp_path / 'out'}")
  assert result.returncode == 2
  assert said in result.stderr
  assert "Traceback" not in result.stderr
