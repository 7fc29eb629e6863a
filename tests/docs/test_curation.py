"""The page on curation: its commands run on a small raw file, and its stages are those of the config in their order."""

import json
import random
import re
from pathlib import Path

from gen.config.curation import STAGES
from tests.data.curation.conftest import draw_document

PAGE = (Path(__file__).parents[2] / "docs" / "curation.md").read_text()


def test_the_commands_of_the_page_run(walk, tmp_path):
  rng = random.Random(1)
  documents = [draw_document(rng) for _ in range(24)]
  table = documents[0] + "\n\n" + "\n".join("a | b | c | d, which is a row of the table." for _ in range(9))
  raw = [*documents, documents[3], "too short", table]
  (tmp_path / "raw.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in raw))
  (tmp_path / "good.jsonl").write_text(
    "".join(json.dumps({"text": draw_document(rng)}) + "\n" for _ in range(15))
  )
  files = re.findall(r"```python\n# (\w+\.py)\n(.*?)```", PAGE, re.DOTALL)
  for name, text in files:
    (tmp_path / name).write_text(text)
  walk("curation.md")
  for name in ("clean", "best", "mine"):
    assert {"manifest.json", "report.html", "report.json", "drops.jsonl", "shards"} <= {
      path.name for path in (tmp_path / "corpora" / name).iterdir()
    }
  assert (tmp_path / "corpora/best/classifiers/quality.npz").is_file()
  report = json.loads((tmp_path / "corpora/mine/report.json").read_text())
  assert "no_tables" in [stage["name"] for stage in report["stages"]]


def test_the_table_names_every_stage():
  named = set(re.findall(r"`(\w+)`", " ".join(re.findall(r"^\| (`[^|]+) \|", PAGE, re.M))))
  assert named >= set(STAGES)
