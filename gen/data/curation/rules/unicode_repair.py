"""Repair of text that was decoded with a wrong encoding, such as "Ã©" for "é", by ftfy."""

from gen.config.curation import UnicodeRepair
from gen.data.curation.rules import optional
from gen.data.curation.rules.verdicts import Drop, Kept, Verdict
from gen.data.document import Document

# Share of replacement characters; their text is lost, and ftfy cannot bring it back. Chosen: one in a hundred is a word
# in each line.
MAX_REPLACED = 0.01


def repair_text(document: Document, parameters: UnicodeRepair) -> Verdict:
  """Repairs a text, and drops one whose characters were lost."""
  ftfy = optional.import_extra("ftfy", "unicode")
  text = document.text
  if not text.isascii() or "&" in text or "\x1b" in text or "\r" in text:
    # Quotation marks stay curly, and "&amp;" in text that has tags stays.
    text = ftfy.fix_text(text, normalization=parameters.form, uncurl_quotes=False)
  lost = text.count("\ufffd")
  if lost > MAX_REPLACED * len(text):
    return Drop("replacement characters", f"{lost:,} of {len(text):,} characters")
  return (
    document if text == document.text else Kept(Document(document.name, text), counts={"texts repaired": 1})
  )
