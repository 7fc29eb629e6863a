"""No page of the repository has a dead link, and docs/index.md names every page."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [*ROOT.glob("*.md"), *sorted((ROOT / "docs").rglob("*.md"))]
LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)|!\[[^\]]*\]\(([^)\s]+)\)")


def anchors(text):
  """Returns the anchors of a page's headings, as GitHub makes them."""
  headings = re.findall(r"^#+ (.+)$", re.sub(r"```.*?```", "", text, flags=re.DOTALL), re.MULTILINE)
  plain = [re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower() for heading in headings]
  return {re.sub(r"[^\w\- ]", "", heading).strip().replace(" ", "-") for heading in plain}


def dead_links(page):
  """Yields the links of a page that lead to no file or heading of the repository."""
  text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
  for match in LINK.finditer(text):
    target, _, anchor = (match[1] or match[2]).partition("#")
    if "://" in target or target.startswith("mailto:"):
      continue
    path = (page.parent / target).resolve() if target else page
    if not path.exists():
      yield f"{target} is missing"
    elif anchor and path.suffix == ".md" and anchor not in anchors(path.read_text()):
      yield f"{target}#{anchor} has no such heading"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_page_has_no_dead_link(page):
  assert list(dead_links(page)) == []


def test_a_dead_link_would_be_seen(tmp_path):
  (tmp_path / "a.md").write_text(
    "# One `two`\n[x](b.md) [y](#one-two) [z](#three) [w](https://example.org)\n"
  )
  assert list(dead_links(tmp_path / "a.md")) == ["b.md is missing", "#three has no such heading"]


def test_the_index_names_every_page():
  index = (ROOT / "docs/index.md").read_text()
  pages = {page.name for page in (ROOT / "docs").glob("*.md")} - {"index.md"}
  assert {name for name in pages if f"({name})" not in index} == set()


def test_linked_files_are_part_of_the_repository():
  done = subprocess.run(["git", "ls-files", "docs"], cwd=ROOT, capture_output=True, text=True)
  if done.returncode:
    pytest.skip("not a git checkout")
  assert "docs/index.md" in done.stdout.split()
