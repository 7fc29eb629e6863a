"""Tables of the ids that begin a word or end a sentence, from the text of each piece of a vocabulary.

V vocab.
"""

from collections.abc import Sequence

import numpy as np

# How SentencePiece and byte-level BPE write a space.
_MARKS = ("\N{LOWER ONE EIGHTH BLOCK}", "\N{LATIN CAPITAL LETTER G WITH DOT ABOVE}")


def word_starts(pieces: Sequence[str]) -> np.ndarray:
  r"""Returns for each id whether it begins a word, as a boolean table.

  Such a piece begins with the space mark of SentencePiece or byte-level BPE, or with white space. In a vocabulary with
  "##" pieces (WordPiece), it is a piece that does not begin with "##".

  >>> word_starts(["\u2581play", "ing", " ", "ed"]).tolist()
  [True, False, True, False]
  >>> word_starts(["play", "##ing"]).tolist()
  [True, False]
  """
  if any(piece.startswith("##") and len(piece) > 2 for piece in pieces):
    return np.array([not piece.startswith("##") for piece in pieces])
  return np.array([piece.startswith(_MARKS) or piece[:1].isspace() for piece in pieces])


def sentence_ends(pieces: Sequence[str]) -> np.ndarray:
  """Returns for each id whether its last character is a full stop, question or exclamation mark.

  >>> sentence_ends(["end.", "Why?", "3.1", ""]).tolist()
  [True, True, False, False]
  """
  # By the last character alone, so an abbreviation ends a sentence too.
  return np.array([piece.endswith((".", "?", "!")) for piece in pieces])
