"""Cuts one long text into blocks, so that it can be split into training and validation."""

from collections.abc import Iterator

# Characters of one block of a single file; chosen: from a page to a chapter, the sizes of documents elsewhere.
MIN_BLOCK_SIZE, MAX_BLOCK_SIZE = 1_024, 65_536
# Of a single file, if their sizes allow it; chosen: a validation fraction of .05 then takes twenty of them.
BLOCKS = 400
MIN_BLOCKS = 20  # of a short file: enough for a split into training and validation


def split_blocks(text: str) -> Iterator[str]:
  r"""Cuts a text into contiguous blocks, at blank lines if possible, else at line ends, else at spaces.

  The concatenated blocks are the text. There are about 400 blocks of 1,000 to 64,000 characters, and at least about
  20 of a shorter text.

  >>> "".join(split_blocks("one two\n" * 50)) == "one two\n" * 50
  True
  """
  return cut_chunks(iter([text]), len(text))


def cut_chunks(chunks: Iterator[str], length: int) -> Iterator[str]:
  """Cuts a text in chunks exactly as `split_blocks` cuts the text.

  Args:
    chunks: of the text.
    length: of the text, in characters.
  """
  size = min(max(length // BLOCKS, MIN_BLOCK_SIZE), MAX_BLOCK_SIZE, max(1, length // MIN_BLOCKS))
  text, start = "", 0
  for chunk in chunks:
    text, start = text[start:] + chunk, 0
    while len(text) - start > 2 * size:
      end = _cut(text, start, size)
      yield text[start:end]
      start = end
  if start < len(text):
    yield text[start:]


def _cut(text: str, start: int, size: int) -> int:
  """Returns the end of the block: the first good boundary between size and twice the size."""
  low, high = start + size, start + 2 * size
  for mark in ("\n\n", "\n", " "):
    index = text.find(mark, low, high)
    if index >= 0:
      return index + len(mark)
  return high
