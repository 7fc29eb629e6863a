"""Parts of results.json that a study and an atlas share: what they read."""

import dataclasses


@dataclasses.dataclass(frozen=True, slots=True)
class CorpusRecord:
  """The text of a study.

  Attributes:
    name: of the corpus, as in the configuration.
    documents: number of documents.
    bytes: of all text.
    validation_bytes: of the text that is validated on.
    sha256: of the text.
  """

  name: str
  documents: int
  bytes: int
  validation_bytes: int
  sha256: str


@dataclasses.dataclass(frozen=True, slots=True)
class TokenizerRecord:
  """The tokenizer of a study: its kind, its vocabulary, and its hash."""

  kind: str
  vocab: int
  hash: str
