from pathlib import Path

from gen.data.tokenizers import tokenizer
from tests import programs

SCRIPT = Path(__file__).parents[2] / "scripts" / "train_tokenizer.py"


def run(*arguments):
  return programs.run([SCRIPT, *arguments])


def test_a_tokenizer_is_trained_saved_and_judged(tmp_path):
  (tmp_path / "a.txt").write_text("".join(f"Sentence {i} stands for {i * i}.\n\n" for i in range(999)))
  output, cache = tmp_path / "made" / "here", tmp_path / "cache"
  done = run(f"--output={output}", f"--corpus={tmp_path / 'a.txt'}", "--vocab=300", f"--cache={cache}")
  assert done.returncode == 0, done.stderr
  assert "bytes per token on validation text" in done.stdout
  assert tokenizer.load_tokenizer(output).text_vocab == 300


def test_mistakes_end_with_one_sentence_and_code_2(tmp_path):
  (tmp_path / "a.txt").write_text("too little")
  for arguments, says in (
    ((), "--output is not given"),
    ((f"--output={tmp_path}", "--corpus=no.txt", f"--cache={tmp_path}"), "no.txt: no such file"),
    ((f"--output={tmp_path}", "--kind=word"), "--kind=word"),
    (
      (f"--output={tmp_path}", f"--corpus={tmp_path / 'a.txt'}", f"--cache={tmp_path / 'c'}"),
      "data.vocab 4096 is too large",
    ),
  ):
    done = run(*arguments)
    assert done.returncode == 2
    assert says in done.stderr
    assert done.stderr.count("\n") == 1
