"""Renders chat templates in a process of its own, which `chat` starts; uses jinja2 and the standard library alone.

A template is code of whoever made the checkpoint. It runs in jinja2's sandbox; a sandbox bounds neither time nor
memory, so each rendering has a limit of processor time and of characters, and the process one of memory.

    python chat_renderer.py SECONDS BYTES CHARACTERS FOLDER...  <REQUESTS   # one JSON object a line, and so the answers

A request is {"template": text, "variables": {...}}. An answer is {"error": sentence}, or {"text": ..., "spans":
[[begin, end], ...], "misplaced": ...}: the spans of {% generation %} blocks, and whether the text of one is elsewhere.
"""

import functools
import json
import resource
import signal
import sys
from datetime import datetime
from typing import Any, TypedDict

MAX_SPANS = 100_000  # that a template marks as generated; one in a loop would mark more


class RenderAnswer(TypedDict, total=False):
  """The answer to a request: a text with the spans of its marked blocks, or an error in one clause."""

  text: str
  spans: list[tuple[int, int]]
  misplaced: bool
  error: str


class RenderLimit(Exception):
  """A rendering exceeds a limit; one clause without the template's name."""


def answer_requests() -> None:
  """Answers requests until there are no more."""
  seconds, memory, characters = map(int, sys.argv[1:4])
  sys.path.extend(sys.argv[4:])
  make_environment()  # imports before the limit of memory holds
  resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
  # SIGPROF comes with ITIMER_PROF, which counts processor time and not that of waiting for a request.
  signal.signal(signal.SIGPROF, _stop)
  answer: RenderAnswer
  for line in sys.stdin:
    try:
      # Time in the library alone counts; the timer counts that of the whole process.
      signal.setitimer(signal.ITIMER_PROF, seconds)
      answer = render_request(json.loads(line), characters)
    except RenderLimit as error:
      answer = {"error": str(error)}
    except MemoryError:
      answer = {"error": f"it needs more than {memory >> 20:,} MiB of memory"}
    except RecursionError:
      answer = {"error": "it calls itself too deeply"}
    # A template may raise anything; it is the template's fault and one clause, whatever it is.
    except Exception as error:
      answer = {"error": f"{type(error).__name__}: {error}"[:400]}
    finally:
      signal.setitimer(signal.ITIMER_PROF, 0)
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


def _stop(number: int, frame: Any) -> None:
  raise RenderLimit("it takes more processor time than a template may")


class FixedDict:
  """`dict` without the attributes of a class."""

  def __call__(self, *arguments: Any, **named: Any) -> dict[Any, Any]:
    """Returns a dictionary."""
    return dict(*arguments, **named)


def _to_json(
  value: Any, ensure_ascii: bool = False, indent: Any = None, separators: Any = None, sort_keys: bool = False
) -> str:
  # jinja2's own escapes HTML.
  return json.dumps(
    value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys
  )


@functools.cache
def make_environment() -> Any:
  """Returns the environment of templates, with the additions that transformers makes."""
  import jinja2
  import jinja2.ext
  import jinja2.sandbox
  import jinja2.utils

  class GenerationTag(jinja2.ext.Extension):
    """{% generation %} ... {% endgeneration %}: what is between was written by the model."""

    tags = {"generation"}  # noqa: RUF012 - jinja2's attribute

    def parse(self, parser: Any) -> Any:
      """Makes a call of `_mark` of a block."""
      line = next(parser.stream).lineno
      body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
      return jinja2.nodes.CallBlock(self.call_method("_mark"), [], [], body).set_lineno(line)

    def _mark(self, caller: Any) -> Any:
      content = caller()
      marks = environment.marks
      if marks is not None:
        if len(marks) >= MAX_SPANS:
          raise RenderLimit(f"it marks more than {MAX_SPANS:,} spans as generated")
        marks.append((environment.written, content))
      return content

  def raise_exception(message: str) -> None:
    raise jinja2.TemplateError(message)

  environment: Any = jinja2.sandbox.ImmutableSandboxedEnvironment(
    trim_blocks=True, lstrip_blocks=True, extensions=[GenerationTag, "jinja2.ext.loopcontrols"]
  )
  environment.filters["tojson"] = _to_json
  environment.globals |= {"raise_exception": raise_exception, "dict": FixedDict()}
  environment.marks, environment.written = None, 0
  return environment


# Compiling takes longer than rendering, and a run has one template or two.
@functools.lru_cache(maxsize=16)
def _compile(template: str) -> Any:
  return make_environment().from_string(template)


def render_request(request: dict[str, Any], characters: int) -> RenderAnswer:
  """Returns the answer to a request; raises what the template raises.

  Args:
    request: as in the module's description; `now` is the time that the template sees, in ISO format.
    characters: the longest result.
  """
  environment = make_environment()
  now = datetime.fromisoformat(request["now"])
  environment.globals["strftime_now"] = now.strftime
  parts: list[str] = []
  environment.marks, environment.written = [], 0
  for part in _compile(request["template"]).generate(**request["variables"]):
    parts.append(part)
    environment.written += len(part)
    if environment.written > characters:
      raise RenderLimit(f"it writes more than {characters:,} characters")
  text = "".join(parts)
  return {
    "text": text,
    "spans": [(begin, begin + len(content)) for begin, content in environment.marks],
    # Jinja holds back what stands in {% set %} or {% filter %}, so it is written later than its block was rendered.
    "misplaced": not all(text.startswith(content, begin) for begin, content in environment.marks),
  }


if __name__ == "__main__":
  answer_requests()
