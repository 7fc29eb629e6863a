"""Notes about how files were read, for the lines that a run prints."""


class Notes:
  """Notes about how files were read: one line for all files that were read the same way."""

  def __init__(self) -> None:
    """Starts without notes."""
    self._alike: dict[str, list[str]] = {}
    self._warnings: dict[str, None] = {}

  def add(self, name: str, how: str) -> None:
    """Adds how a file was read."""
    names = self._alike.setdefault(how, [])
    if name not in names[:1]:
      names.append(name)

  def warn(self, sentence: str) -> None:
    """Adds a separate sentence."""
    if len(self._warnings) < 20:
      self._warnings[sentence] = None

  def lines(self) -> list[str]:
    """Returns the lines in a fixed order."""
    lines = []
    for how, names in self._alike.items():
      others = f" and {len(names) - 1:,} more" if len(names) > 1 else ""
      lines.append(f"{names[0]}{others}: read as {how}")
    return [*lines, *(f"warning: {sentence}" for sentence in self._warnings)]
