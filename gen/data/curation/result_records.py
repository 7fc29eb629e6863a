"""What a curation writes beside its text: the manifest and the report, as JSON holds them."""

from collections.abc import Mapping
from typing import NotRequired, TypedDict

from gen.data.curation.passes.tallies import TallyRecord


class SourceRecord(TypedDict):
  """A source of a curation: its name, and the checksum of its fingerprint."""

  name: str
  sha256: str


class IdentityRecord(TypedDict):
  """All that the result of a curation depends on.

  Attributes:
    version: of the stages.
    sources: in their order.
    licence: of the sources.
    config: fields of `gen.config.curation.Curation`.
    own: checksums of the user's own functions.
    inputs: fingerprints of what stages read besides the text.
    skip_damaged: whether files that cannot be read are skipped.
    tokens: name of the function that counts them.
  """

  version: int
  sources: list[SourceRecord]
  licence: str
  config: Mapping[str, object]
  own: Mapping[str, object]
  inputs: Mapping[str, object]
  skip_damaged: bool
  tokens: str


class FileRecord(TypedDict):
  """One file of text of the result."""

  name: str
  bytes: int
  sha256: str
  documents: int


class FaultRecord(TypedDict):
  """A file that could not be read to its end, and why."""

  file: str
  error: str


class ReadingRecord(TypedDict):
  """What reading the sources found; `shards` once all are read."""

  faults: list[FaultRecord]
  notes: list[str]
  shards: NotRequired[int]


# Calls, because `in` is a keyword. Lists of three are documents, bytes and tokens.
StageCounts = TypedDict(
  "StageCounts", {"name": str, "in": list[int], "out": list[int], "reasons": dict[str, list[int]]}
)
SizesRecord = TypedDict("SizesRecord", {"in": dict[str, int], "out": dict[str, int]})


class ManifestRecord(TypedDict):
  """The manifest of a curation, which comes last and makes its folder a corpus.

  Attributes:
    format: version of the format.
    kind: that of a curation.
    identity: what the result depends on.
    stages: what entered and left each, and why documents were dropped.
    files: of text.
    notes: how the sources were read.
    skipped: files that could not be read.
    versions: of the packages on which the result may depend.
  """

  format: NotRequired[int]
  kind: str
  identity: IdentityRecord
  stages: list[StageCounts]
  files: list[FileRecord]
  notes: list[str]
  skipped: list[FaultRecord]
  versions: Mapping[str, object]


class StageReport(TallyRecord):
  """The tally of a stage, and what the stage is."""

  about: str


class _ReportBody(TypedDict):
  sources: list[SourceRecord]
  licence: str
  kept: dict[str, float]
  stages: list[StageReport]
  by_source: dict[str, SizesRecord]
  skipped: list[FaultRecord]
  notes: list[str]
  versions: Mapping[str, object]


class ReportRecord(SizesRecord, _ReportBody):
  """The report of a curation: sizes of what entered and left, the share that is kept, and each stage."""
