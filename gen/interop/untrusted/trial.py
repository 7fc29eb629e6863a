"""Tries a tokenizer's file in a separate process before this one reads it.

For a hostile file the libraries may use unbounded time and memory, abort, or corrupt memory. The child process has
limits on both. It reads the file, and encodes and decodes texts that are hard for it.

    python trial.py KIND SECONDS BYTES FOLDER...  <FILE      # prints {} or {"error": sentence}; imports no package of
    gen
"""

import gc
import hashlib
import importlib.util
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

SECONDS, MEMORY = 2, 1 << 30  # CPU seconds and bytes; both grow with the file. GPT-2's file takes .2 s
MAX_SECONDS = 4  # for a file of any size; 250,000 pieces in 37 MB take 2.0 s
MAX_FILE = 64 << 20  # bytes; the largest in use have 35 MB
MAX_MODEL = 16 << 20  # bytes of a model of SentencePiece; the largest in use, of 256,000 pieces, have 5 MB
_WALL = 12  # wall-clock limit over CPU limit, for loaded machines
_RUNS = 2000  # repetitions of one character
_passed: set[str] = set()


def require_safe(kind: str, content: bytes, name: str) -> None:
  """Checks and tries a file, once per content.

  Args:
    kind: tokenizer.json, or another name for a model of SentencePiece.
    content: of the file.
    name: of the file in errors.

  Raises:
    UserError: one sentence, for a file that exceeds the limits, or that its library cannot read.
  """
  from gen.errors import UserError

  max_bytes = MAX_FILE if kind == "tokenizer.json" else MAX_MODEL
  if len(content) > max_bytes:
    raise UserError(
      f"{name} has {len(content):,} bytes, more than the {max_bytes:,} that a tokenizer may have"
    )
  # A file is tried once per process: its tokenizer may be loaded several times.
  digest = hashlib.sha256(kind.encode() + b"\0" + content).hexdigest()
  if digest not in _passed:
    error = _in_child(kind, content)
    if error:
      raise UserError(f"{name} is damaged or not trustworthy: {error}")
    _passed.add(digest)


def _in_child(kind: str, content: bytes) -> str | None:
  """Returns the reason to reject a file, or None."""
  # One more CPU second for each 4 MiB.
  seconds, memory = min(SECONDS + (len(content) >> 22), MAX_SECONDS), MEMORY + 4 * len(content)
  library = "tokenizers" if kind == "tokenizer.json" else "sentencepiece"
  spec = importlib.util.find_spec(library)
  here = Path(__file__).resolve()
  if spec is None or spec.origin is None or not sys.executable:
    return None  # the reader reports the missing library
  folders = [str(Path(spec.origin).parents[1]), str(here.parents[3])]
  # -I and -S: the child reads no environment, no user site and no .pth file.
  command = [sys.executable, "-I", "-S", str(here), kind, str(seconds), str(memory), *folders]
  try:
    ended = subprocess.run(
      command, input=content, capture_output=True, timeout=seconds * _WALL, check=False,
      env=os.environ | {"RAYON_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"},
    )  # fmt: skip
  except subprocess.TimeoutExpired:
    return f"reading it takes more than {seconds * _WALL} s"
  except OSError:
    return None  # no process can be started here
  try:
    error: str | None = json.loads(ended.stdout).get("error")
  except ValueError:
    if ended.returncode in (-signal.SIGXCPU, -signal.SIGKILL):
      return f"reading it takes more than {seconds} s"
    return f"the library crashed while reading it, by a fault or by more than {memory:,} bytes of memory"
  return error


def try_out(kind: str, content: bytes) -> None:
  """Reads a file, and encodes and decodes hard texts.

  Raises:
    Exception: of the libraries, for a file that cannot be read.
  """
  from gen.interop.untrusted import limits

  if kind == "tokenizer.json":
    _try_json(content, limits.check_json(content))
  else:
    limits.check_sentence_pieces(content)
    _try_sentence_pieces(content)


def _try_json(content: bytes, described: dict[str, object]) -> None:
  import tokenizers

  from gen.interop.untrusted import limits

  made = tokenizers.Tokenizer.from_str(content.decode("utf-8-sig"))
  made.no_padding()
  made.no_truncation()
  made.encode_special_tokens = True
  names = [made.id_to_token(number) or "" for number in range(min(made.get_vocab_size(), 200))]
  for text in _texts(names, "".join(dict.fromkeys("".join(limits.find_regexes(described))))[:30]):
    try:
      ids = made.encode(text, add_special_tokens=True).ids
    except Exception:
      continue
    made.decode(ids, skip_special_tokens=False)


def _try_sentence_pieces(content: bytes) -> None:
  import sentencepiece

  made = sentencepiece.SentencePieceProcessor(model_proto=content)
  names = [made.id_to_piece(number) for number in range(min(made.get_piece_size(), 200))]
  for text in _texts(names):
    made.decode(made.encode(text))


def _texts(names: list[str], alphabet: str = "") -> list[str]:
  """Returns texts of one repeated character, the worst case of repetitions in patterns, and texts of pieces.

  Oniguruma first searches for a letter that a pattern requires, so the letters of `alphabet` follow each repetition.
  """
  letters = dict.fromkeys(
    ["a", "1", " ", "\n", "\t", "'", ".", "-", "é", "漢", "😀", *alphabet, *"".join(names)[:20]]
  )
  runs = [letter * _RUNS + end for letter in letters for end in ("!", "\0", f"\n{alphabet}")]
  spaced = [" ".join(names), "".join(names), "ab " * _RUNS, "a1" * _RUNS, "a\n \n" * (_RUNS // 2)]
  pairs = [alphabet[start : start + 2] * (_RUNS // 2) + "!" for start in range(len(alphabet))]
  return ["", "a", *spaced, *pairs, *runs]


def _limit(seconds: int, memory: int) -> None:
  """Limits this process's CPU time, and its memory beyond the current use."""
  try:
    import resource
  except ImportError:  # Windows
    return
  resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))
  resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
  try:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
  except OSError:
    return  # not Linux; elsewhere the limit of address space has little effect
  used = pages * resource.getpagesize()
  resource.setrlimit(resource.RLIMIT_AS, (used + memory, used + memory))


def run_trial(kind: str, seconds: str, memory: str, *folders: str) -> None:
  """Tries the file on standard input and prints its error, if any."""
  sys.path[:0] = folders
  gc.disable()  # garbage collection dominates the time of files with many lists
  answer: dict[str, object] = {}
  _limit(int(seconds), int(memory))
  try:
    try_out(kind, sys.stdin.buffer.read())
  except MemoryError:
    answer = {"error": f"reading it takes more than {int(memory):,} bytes of memory"}
  except BaseException as error:  # Rust's panics are not subclasses of Exception
    answer = {"error": (str(error).strip().splitlines() or [type(error).__name__])[0]}
  print(json.dumps(answer))


if __name__ == "__main__":
  run_trial(*sys.argv[1:])
