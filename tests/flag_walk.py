"""Walks the flags of the programs named on the command line, each in a process forked for it; prints what is wrong."""

import importlib.util
import os
import sys
from pathlib import Path

from absl import flags, logging  # noqa: F401  defines its own flags, which are no program's

from gen.io import outputs, quantities

BAD = ["nan", "inf", "-inf", "-1", str(10**30), "1e400", "", "0x10", "1;2", "x" * 5_000]
NUMBERS = (quantities.IntegerParser, quantities.NumberParser, quantities.ListParser)
PLACES = (outputs.FileParser, outputs.FolderParser)
WRITES = {"json", "html", "plot", "workdir", "out", "output"}
READS = {("export_checkpoint", "workdir")}
INFINITE = {"delta"}  # least squares
LIBRARIES = set(flags.FLAGS)


def faults_of_number(parser):
  """Yields what is wrong with how a flag takes bad values."""
  if parser.lower_bound is None:
    yield "takes numbers below any bound"
  for text in BAD:
    try:
      value = parser.parse(text)
    except ValueError as error:
      if "\n" in str(error) or not 0 < len(str(error)) < 400:
        yield f"says {str(error)[:80]!r} of {text[:20]!r}"
      continue
    for number in value if isinstance(value, list) else [value]:
      if number != number or (parser.lower_bound is not None and number < parser.lower_bound):
        yield f"takes {text[:20]!r} as {number}"


def faults(path):
  """Yields one line per fault of a program's flags."""
  spec = importlib.util.spec_from_file_location(path.stem, path)
  module = importlib.util.module_from_spec(spec)
  sys.modules[spec.name] = module  # dataclasses look up their annotations there
  spec.loader.exec_module(module)
  for name in sorted(set(flags.FLAGS) - LIBRARIES):
    flag = flags.FLAGS[name]
    if isinstance(flag.parser, NUMBERS):
      for fault in faults_of_number(flag.parser):
        yield f"{path.stem} --{name} {fault}"
    elif flag.flag_type() in ("int", "float"):
      yield f"{path.stem} --{name} has no bounds; define it with gen.io.quantities"
    if name in WRITES and (path.stem, name) not in READS and not isinstance(flag.parser, PLACES):
      yield f"{path.stem} --{name} is not checked; define it with gen.io.outputs"


if __name__ == "__main__":
  for word in sys.argv[1:]:
    child = os.fork()
    if not child:
      print("\n".join(faults(Path(word))), flush=True)
      os._exit(0)
    if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]):
      sys.exit(f"{word} cannot be imported")
