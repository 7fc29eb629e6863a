"""Prints, for each program named on the command line, what its flag --json says of itself; nothing if it has none."""

import importlib.util
import os
import sys
from pathlib import Path

from absl import flags

if __name__ == "__main__":
  for word in sys.argv[1:]:
    child = os.fork()
    if not child:
      spec = importlib.util.spec_from_file_location("program", word)
      module = importlib.util.module_from_spec(spec)
      spec.loader.exec_module(module)
      print(Path(word).stem, flags.FLAGS["json"].help if "json" in flags.FLAGS else "", sep="\t", flush=True)
      os._exit(0)
    if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]):
      sys.exit(f"{word} cannot be imported")
