"""Raw text to a corpus: stages that keep, change or drop documents, and a report of what went and why."""

from gen.data.curation.rules.verdicts import Drop, Kept
from gen.data.document import Document

__all__ = ["Document", "Drop", "Kept"]
