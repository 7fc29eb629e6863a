"""Tools: typed Python functions that a model calls in a marked span; the result is inserted into the text.

    the model writes        37 * 45 = [calculator("37*45") ->
    the tool adds                                             1665]
    and the model continues                                          1665.

After arXiv:2302.04761. A call is parsed, never evaluated: its arguments are literals of the function's types. Errors
(an unknown tool, a wrong argument, an exception, too much time or text) are inserted as the result, `error: ...`.
The time limit abandons a function that is still running. It cannot stop one that holds the interpreter in a single
operation, so a tool must bound its own work, as `evaluate_arithmetic` does.
"""

import ast
import dataclasses
import datetime
import inspect
import operator
import queue
import threading
from collections.abc import Callable, Mapping
from typing import Any, get_type_hints

from gen.errors import UserError

OPEN, ARROW, CLOSE = "[", " ->", "]"  # as Toolformer writes calls (arXiv:2302.04761, section 2)
TYPES = (int, float, str, bool)


class ToolError(Exception):
  """The error of a call, as a message for the model."""


@dataclasses.dataclass(frozen=True)
class ToolLimits:
  """Limits of a call.

  Attributes:
    seconds: maximum run time.
    call: maximum characters of a call.
    result: maximum characters of a result.
  """

  # Enough for a table or a formula; text waits for it.
  seconds: float = 1.0
  # Characters: a call of a few arguments, and a result of a line or two; a window is short.
  call: int = 200
  result: int = 200


@dataclasses.dataclass(frozen=True)
class Tool:
  """A function with the types of its arguments."""

  name: str
  function: Callable[..., Any]
  types: Mapping[str, type]
  needed: int

  @property
  def signature(self) -> str:
    """Its signature, for a prompt or a message."""
    return f"{self.name}({', '.join(f'{name}: {kind.__name__}' for name, kind in self.types.items())})"


class ToolRegistry:
  """Tools by name.

  >>> registry = ToolRegistry()
  >>> @registry.tool
  ... def add(a: int, b: int) -> int:
  ...   return a + b
  >>> registry.result("add(2, b=40)"), registry.result("add(2)")
  ('42', 'error: add needs a value for b')
  """

  def __init__(self, limits: ToolLimits = ToolLimits()) -> None:
    """Starts without tools."""
    self.limits, self._tools = limits, dict[str, Tool]()

  def tool(self, function: Callable[..., Any]) -> Callable[..., Any]:
    """Registers a function under its name, and returns it.

    Raises:
      UserError: for an argument whose type is not int, float, str or bool, or a name that is taken.
    """
    name = function.__name__
    # A lambda is named <lambda>, which no call could name.
    if not name.isidentifier() or name in self._tools:
      raise UserError(f"a tool {name!r} cannot be registered: the name is taken, or is not an identifier")
    hints, types, needed = get_type_hints(function), {}, 0
    for parameter in inspect.signature(function).parameters.values():
      kind = hints.get(parameter.name)
      if parameter.kind is not inspect.Parameter.POSITIONAL_OR_KEYWORD or kind not in TYPES:
        raise UserError(
          f"tool {name}: argument {parameter.name} must be positional or keyword, of type int, float, str or bool"
        )
      types[parameter.name] = kind
      needed += parameter.default is inspect.Parameter.empty
    self._tools[name] = Tool(name, function, types, needed)
    return function

  @property
  def tools(self) -> tuple[Tool, ...]:
    """All tools, in the order of their registration."""
    return tuple(self._tools.values())

  def result(self, call: str) -> str:
    """Returns the result of a call as text, or `error: ...` in one line; never raises."""
    try:
      value = self._run(*self.parse(call))
    except ToolError as error:
      return f"error: {error}"[: self.limits.result]
    return value

  def parse(self, call: str) -> tuple[Tool, dict[str, object]]:
    """Returns the tool of a call and its arguments by name.

    Raises:
      ToolError: for anything but one call of a known tool with literals of the right types.
    """
    if len(call) > self.limits.call:
      raise ToolError(f"the call is longer than {self.limits.call} characters")
    try:
      node = ast.parse(call.strip(), mode="eval").body
    # `ast.parse` raises any of these for what a model may write: null bytes, deep nesting, huge numbers.
    except (SyntaxError, ValueError, RecursionError, MemoryError):
      raise ToolError("not a call; write name(argument, ...)") from None
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
      raise ToolError("not a call; write name(argument, ...)")
    tool = self._tools.get(node.func.id)
    if tool is None:
      known = ", ".join(self._tools) or "none"
      raise ToolError(f"unknown tool {node.func.id}; there are {known}")
    return tool, self._arguments(tool, node)

  def _arguments(self, tool: Tool, node: ast.Call) -> dict[str, object]:
    names = list(tool.types)
    if len(node.args) > len(names):
      raise ToolError(f"{tool.name} takes {len(names)} arguments, not {len(node.args)}")
    arguments: list[tuple[str | None, ast.expr]] = [*zip(names, node.args, strict=False)]
    values: dict[str, object] = {}
    for name, value in [*arguments, *((keyword.arg, keyword.value) for keyword in node.keywords)]:
      if name is None or name not in tool.types:
        raise ToolError(f"{tool.name} has no argument {name}; write {tool.signature}")
      if name in values:
        raise ToolError(f"{tool.name} has {name} twice")
      values[name] = _literal(tool, name, value)
    for name in names[: tool.needed]:
      if name not in values:
        raise ToolError(f"{tool.name} needs a value for {name}")
    return values

  def _run(self, tool: Tool, arguments: dict[str, object]) -> str:
    # A queue, as a thread cannot return a value and its result may come after the limit, when nobody waits.
    results: queue.SimpleQueue[tuple[Any, BaseException | None]] = queue.SimpleQueue()

    def work() -> None:
      try:
        results.put((str(tool.function(**arguments)), None))
      # Whatever a tool raises is the model's to read; it must not end the generation.
      except BaseException as error:
        results.put((None, error))

    # A daemon thread: a tool that never returns must not keep the program from ending.
    threading.Thread(target=work, name=f"tool {tool.name}", daemon=True).start()
    try:
      value, error = results.get(timeout=self.limits.seconds)
    except queue.Empty:
      raise ToolError(f"{tool.name} took longer than {self.limits.seconds:g} s") from None
    if error is not None:
      raise ToolError(" ".join(f"{error}".split()) or type(error).__name__)
    if len(value) > self.limits.result:
      raise ToolError(f"the result of {tool.name} is longer than {self.limits.result} characters")
    # A result with a closing bracket or a line break would end the call's span early.
    return value.replace("\n", " ").replace(CLOSE, ")")


def _literal(tool: Tool, name: str, value: ast.expr) -> Any:
  kind = tool.types[name]
  try:
    literal = ast.literal_eval(value)
  except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
    raise ToolError(f"{name} of {tool.name} must be a plain value, not an expression") from None
  if kind is float and type(literal) is int:
    try:
      return float(literal)
    except OverflowError:
      raise ToolError(f"{name} of {tool.name} is too large") from None
  # type, not isinstance: True is an int in Python.
  if type(literal) is not kind:
    raise ToolError(f"{name} of {tool.name} must be of type {kind.__name__}")
  return literal


_BINARY: dict[type, Callable[[Any, Any], Any]] = {
  ast.Add: operator.add,
  ast.Sub: operator.sub,
  ast.Mult: operator.mul,
  ast.Div: operator.truediv,
  ast.FloorDiv: operator.floordiv,
  ast.Mod: operator.mod,
  ast.Pow: operator.pow,
}
_UNARY: dict[type, Callable[[Any], Any]] = {ast.USub: operator.neg, ast.UAdd: operator.pos}
# Of an integer, 617 digits; larger results raise before they are computed. Chosen: far more than any text needs.
MAX_BITS = 2048
# Far below the interpreter's own limit, whose error comes deep inside `ast`.
MAX_DEPTH = 50


def evaluate_arithmetic(expression: str) -> int | float:
  """Returns the value of an expression of numbers, + - * / // % ** and parentheses.

  Raises:
    ValueError: for anything else, or a number too large.

  >>> evaluate_arithmetic("(2 + 3) * 4 - 7 // 2"), evaluate_arithmetic("1 / 8")
  (17, 0.125)
  """
  try:
    return _value(ast.parse(expression.strip(), mode="eval").body, MAX_DEPTH)
  except ZeroDivisionError:
    raise ValueError("division by zero") from None
  except OverflowError:
    raise ValueError("the number is too large") from None
  except (SyntaxError, RecursionError, MemoryError):
    raise ValueError("not arithmetic") from None


def _value(node: ast.expr, depth: int) -> int | float:
  if depth == 0:
    raise ValueError("the expression is nested too deeply")
  if (
    isinstance(node, ast.Constant)
    and isinstance(node.value, (int, float))
    and not isinstance(node.value, bool)
  ):
    return _small(node.value)
  if isinstance(node, ast.UnaryOp) and type(node.op) in _UNARY:
    return _UNARY[type(node.op)](_value(node.operand, depth - 1))
  if not isinstance(node, ast.BinOp) or type(node.op) not in _BINARY:
    raise ValueError("not arithmetic")
  left, right = _value(node.left, depth - 1), _value(node.right, depth - 1)
  if isinstance(node.op, ast.Pow):
    _check_power(left, right)
  result = _BINARY[type(node.op)](left, right)
  # A negative number to a fraction: Python's power of it is complex.
  if isinstance(result, complex):
    raise ValueError("the result is no real number")
  return _small(result)


def _check_power(base: int | float, exponent: int | float) -> None:
  """Raises ValueError for a power of integers that would take long."""
  integers = isinstance(base, int) and isinstance(exponent, int)
  # 9**9**9 would occupy the thread for hours, and the time limit cannot stop it.
  if integers and abs(exponent) * max(1, int(base).bit_length()) > MAX_BITS:
    raise ValueError("the number is too large")


def _small(number: int | float) -> int | float:
  if isinstance(number, int) and number.bit_length() > MAX_BITS:
    raise ValueError("the number is too large")
  return number


def standard_tools(
  facts: Mapping[str, str] | None = None, today: datetime.date | None = None
) -> ToolRegistry:
  """Returns the tools calculator, date and lookup.

  Args:
    facts: values of lookup, by name.
    today: base of date; None is the day of the call.

  >>> standard_tools(today=datetime.date(2024, 2, 27)).result("date(2)")
  '2024-02-29'
  """
  registry, known = ToolRegistry(), dict(facts or {})

  @registry.tool
  def calculator(expression: str) -> str:
    """Computes an expression."""
    value = evaluate_arithmetic(expression)
    # 10 digits: 0.1 + 0.2 is 0.3, and not 0.30000000000000004, for a model that copies it.
    return str(value) if isinstance(value, int) else f"{value:.10g}"

  @registry.tool
  def date(days: int = 0) -> str:
    """Returns today's date, or the date `days` later."""
    return ((today or datetime.date.today()) + datetime.timedelta(days=days)).isoformat()

  @registry.tool
  def lookup(name: str) -> str:
    """Returns the fact about a name."""
    if name not in known:
      raise LookupError(f"nothing is known of {name}")
    return known[name]

  return registry


def find_open_call(text: str) -> str | None:
  """Returns the call that a text ends with, if it still has no result.

  >>> find_open_call('2 and [calculator("1+1") ->')
  'calculator("1+1")'
  """
  if not text.endswith(ARROW):
    return None
  begin = text.rfind(OPEN)
  call = text[begin + len(OPEN) : -len(ARROW)] if begin >= 0 else ""
  return call if call and CLOSE not in call else None  # a closed bracket is no call
