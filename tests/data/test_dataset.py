import subprocess
import sys

from gen.config import Data
from gen.data import batches, dataset


def test_one_call_loads_all_that_a_run_reads_and_the_next_finds_it(tmp_path):
  (tmp_path / "a.txt").write_text("".join(f"Sentence {i} stands for {i * i}.\n\n" for i in range(3000)))
  data = Data(
    corpus=str(tmp_path / "a.txt"), tokenizer="bpe", vocab=300, length=16, batch=4, cache=str(tmp_path / "c")
  )
  lines = []
  first, second = (dataset.load_dataset(data, lines.append) for _ in range(2))
  assert [line.split()[0].rstrip(":") for line in lines] == ["corpus", "tokenizer", "tokens"] * 2
  assert [line.endswith("found in the cache") for line in lines] == [False] * 3 + [True] * 3
  assert (first.corpus.sha256, first.tokenizer.hash) == (second.corpus.sha256, second.tokenizer.hash)
  batch = batches.Batches(first.train, data, seed=0).at(0)
  assert (batch.inputs_bt == batches.Batches(second.train, data, seed=0).at(0).inputs_bt).all()
  assert "stands for" in first.tokenizer.decode(batch.inputs_bt.ravel())


def test_loading_imports_no_jax():
  code = (
    "import sys, gen.data.dataset; sys.exit('jax' in sys.modules or 'tensorflow_datasets' in sys.modules)"
  )
  assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_validation_bytes_are_those_of_the_text(speeches, tmp_path):
  data = Data(corpus=str(speeches), tokenizer="bpe", vocab=1000, length=64, batch=8, cache=str(tmp_path))
  data.validation_tokens = 10**9
  found = dataset.load_dataset(data)
  assert batches.validation_batches(found.validation, data).bytes == found.corpus.validation_bytes
  assert 2 < found.corpus.bytes / (len(found.train.ids) + len(found.validation.ids)) < 5
