"""Fills in what a manifest of archives gives, and writes the tables of docs/data.md.

    uv run scripts/corpus_manifest.py --update=gen/data/manifests/manual.toml    # size, documents, bytes, hashes
    uv run scripts/corpus_manifest.py --write=docs/data.md                       # the tables, from the manifests
    uv run scripts/corpus_manifest.py --check=manual:large                       # reads every archive, compares hashes

A new archive needs name, version, licence, about, reads, file and sha256 in the manifest; the rest is computed.
"""

import re
from pathlib import Path

from absl import flags

from gen.cli import launch
from gen.config import Data
from gen.data import cache
from gen.data.sources.python_packages import manifests, packages
from gen.data.sources.python_packages.manifests import Archive
from gen.errors import UserError

UPDATE = flags.DEFINE_string("update", "", "Manifest whose computed fields are filled in.")
WRITE = flags.DEFINE_string("write", "", "Page whose tables are rewritten.")
CHECK = flags.DEFINE_string("check", "", "Corpus whose archives are read and compared with the manifest.")
COMPUTED = ("size", "documents", "text_bytes", "text_sha256")
BEGIN, END = "<!-- manifests: begin -->", "<!-- manifests: end -->"


def main() -> None:
  """Does what the flags ask for."""
  root = cache.cache_folder(Data())
  if UPDATE.value:
    path = Path(UPDATE.value)
    path.write_text(update_manifest(path, root))
  if WRITE.value:
    page = Path(WRITE.value)
    page.write_text(write_tables(page.read_text()))
  if CHECK.value:
    for archive in packages.find_manifest(CHECK.value)[1]:
      computed = read_archive(archive, root)
      if computed != {field: getattr(archive, field) for field in COMPUTED}:
        raise UserError(
          f"{CHECK.value}: {archive.name} {archive.version} gives {computed}, not what is listed"
        )
      print(f"{archive.name} {archive.version}: as listed")


def read_archive(archive: Archive, root: Path) -> dict[str, int | str]:
  """Returns the computed fields of an archive."""
  wheel = packages.fetch_wheel(root, archive, print)
  digest = packages.TextDigest()
  for document in packages.read_wheel(archive._replace(text_sha256=""), wheel):
    digest.update(document)
  return {
    "size": wheel.size,
    "documents": digest.documents,
    "text_bytes": digest.text_bytes,
    "text_sha256": digest.hexdigest(),
  }


def update_manifest(path: Path, root: Path) -> str:
  """Returns the text of a manifest with its computed fields."""
  archives = manifests.read_manifest(path).archives
  head, *blocks = re.split(r"(?m)^(?=\[\[archives\]\])", path.read_text())
  made = [head]
  for archive, block in zip(archives, blocks, strict=True):
    remaining = "\n".join(
      line for line in block.rstrip().splitlines() if line.split(" = ")[0] not in COMPUTED
    )
    values = read_archive(archive, root)
    print(f"{archive.name}: {values}")
    lines = (f"{key} = {format_value(value)}" for key, value in values.items())
    made.append("\n".join([remaining, *lines]) + "\n")
  return "\n".join(part.rstrip("\n") + "\n" for part in made)


def format_value(value: int | str) -> str:
  """Returns a value as TOML writes it."""
  return f'"{value}"' if isinstance(value, str) else f"{value:_}"


def write_tables(page: str) -> str:
  """Returns a page with the tables of the manifests of `gen` between its marks."""
  before, begin, rest = page.partition(BEGIN)
  _, end, after = rest.partition(END)
  if not (begin and end):
    raise UserError(f"the page lacks the lines {BEGIN} and {END}")
  tables = "\n".join(format_tables())
  return f"{before}{BEGIN}\n{tables}\n{END}{after}"


def format_tables() -> list[str]:
  """Returns the lines of two tables: the corpora, and their archives."""
  lines = [
    "| corpus | text | archives | documents | MB of text | MB to download |",
    "|---|---|---|---|---|---|",
  ]
  rows = []
  for name in manifests.manifest_names():
    manifest = manifests.read_manifest(manifests.FOLDER / f"{name}.toml")
    for tier in manifest.tiers:
      held = manifest.select_tier(tier, name)
      spelled = f"`{name}`" if tier == manifest.default else f"`{name}:{tier}`"
      totals = [
        sum(getattr(archive, field) for archive in held) for field in ("documents", "text_bytes", "size")
      ]
      lines.append(
        f"| {spelled} | {manifest.about} | {len(held)} | {totals[0]:,}"
        f" | {totals[1] / 1e6:.1f} | {totals[2] / 1e6:.1f} |"
      )
    rows += [
      f"| {archive.name} {archive.version} | {archive.about} | {archive.licence} | {archive.documents:,}"
      f" | {archive.text_bytes:,} | {archive.size:,} | `{name}{f':{archive.tier}' * (len(manifest.tiers) > 1)}` |"
      for archive in manifest.archives
    ]
  lines += ["", "| archive | about | licence | documents | bytes of text | bytes to download | corpus |"]
  return [*lines, "|---|---|---|---|---|---|---|", *rows]


if __name__ == "__main__":
  launch.run_experiment(main, trains=False)
