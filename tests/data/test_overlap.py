"""Documents of one corpus that another was trained on are said, and counted once."""

import dataclasses

from gen.config import Data, mixture
from gen.data import dataset


def test_validation_documents_in_another_corpus_training_text_are_said(tmp_path):
  for name in ("a", "b", "c"):
    (tmp_path / name).mkdir()
  for number in range(60):
    (tmp_path / "a" / f"{number}.txt").write_text(f"the first corpus has document {number}")
    (tmp_path / "b" / f"{number}.txt").write_text(f"the second  corpus has document {number}")
    # White space does not part documents. Another name, so another side of the split.
    (tmp_path / "c" / f"copy-{number}.txt").write_text(f"the second corpus\nhas document {number}")
  data = Data(
    mixture=tuple(mixture.MixtureCorpus(name, str(tmp_path / name), 1.0) for name in "abc"),
    tokenizer="bytes", validation_fraction=0.3, cache=str(tmp_path / "cache"),
  )  # fmt: skip
  lines = []
  for _ in range(2):  # counted, and found in the cache
    loaded = dataset.load_dataset(data, lines.append)
  said = [line for line in lines if "are in the training text of" in line]
  held = {
    name: {" ".join(text.split()) for text in part.validation} for name, part in loaded.corpus.parts.items()
  }
  trained = {
    name: {" ".join(text.split()) for text in part.train} for name, part in loaded.corpus.parts.items()
  }
  assert said == 2 * [
    f"{len(held[one] & trained[other])} of the {len(held[one])} validation documents of {one} are in the training text"
    f" of {other}; if it has weight, the loss on {one} is partly of text that was trained on"
    for one, other in (("b", "c"), ("c", "b"))
  ]
  lines.clear()
  dataset.load_dataset(dataclasses.replace(data, mixture=data.mixture[:2]), lines.append)
  assert not any("are in the training text of" in line for line in lines)
