"""The page on fewer bits runs as it is written, and its table is what the formats are."""

import re
from pathlib import Path

from gen.precision.formats import FORMATS

PAGE = (Path(__file__).parents[2] / "docs" / "precision.md").read_text()


def test_every_block_of_the_page_runs_in_order(walk, tmp_path, capsys):
  names = walk("precision.md")
  assert (tmp_path / "formats.png").stat().st_size > 10_000
  assert names["pi"].pattern == 0x4049 and names["made"].bytes_after < 0.4 * names["made"].bytes_before
  assert names["logits"].shape == (1, 3, 64)
  assert "0x4049 3.140625" in capsys.readouterr().out


def test_the_table_of_formats_has_their_bits_and_ranges():
  rows = re.findall(
    r"^\| (\S+(?: E\dM\d)?) \| (\d+) \|[^|]*\| ([\d.,e]+) \| ([\d.e-]+) \|", PAGE, re.MULTILINE
  )
  titles = {named.title for named in FORMATS.values()}
  rows = [row for row in rows if row[0] in titles]  # other tables of the page have such rows too
  assert len(rows) == len(FORMATS)
  for (title, bits, largest, smallest), found in zip(rows, FORMATS.values(), strict=True):
    assert title == found.title and int(bits) == found.stored_bits
    assert abs(float(largest.replace(",", "")) / found.largest - 1) < 0.02
    assert abs(float(smallest) / found.smallest - 1) < 0.05
