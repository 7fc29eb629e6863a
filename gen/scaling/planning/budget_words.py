"""Parses a compute budget in words into amounts: `8 H100 for 3 days` is 8 devices, a name and 72 hours.

    tokens -> factors (numbers, times, devices, work) -> terms (factors with "x" between) -> `BudgetAmounts`

A number belongs to the next word or to a word joined by "x". A device or a rate directly before a time is work
("GPU-days", "PF/s-days"); consecutive times add up ("1 day 12 h"). The parts may come in any order. Every word must
be used, and no amount may be given twice. `gen.scaling.planning.budgets` converts amounts to FLOPs.
"""

import dataclasses
import math
from collections.abc import Iterable, Iterator
from typing import NamedTuple, NoReturn

from gen.errors import UserError
from gen.scaling.planning import budget_lexer
from gen.scaling.planning.budget_lexer import EXAMPLES, BudgetToken

THIS_MACHINE = "this machine"
ANY = "device"  # a device whose name is said elsewhere
ANY_TPU = "tpu"

# SI prefixes, as in 3 exaFLOP.
_PREFIXES = {"kilo": 1e3, "mega": 1e6, "giga": 1e9, "tera": 1e12, "peta": 1e15, "exa": 1e18, "zetta": 1e21}
# Their letters, without m, which may stand for mega, milli, million or minute.
_LETTERS = {"k": 1e3, "g": 1e9, "t": 1e12, "p": 1e15, "e": 1e18, "z": 1e21}
# English numbers, in the short scale; b is billion, as in 70B.
_MAGNITUDES = (
  _PREFIXES | _LETTERS | {"thousand": 1e3, "million": 1e6, "billion": 1e9, "trillion": 1e12, "b": 1e9}
)
_TIMES = {  # words of a unit: hours
  ("s", "sec", "secs", "second", "seconds"): 1 / 3600,
  ("min", "mins", "minute", "minutes"): 1 / 60,
  ("h", "hr", "hrs", "hour", "hours"): 1.0,
  ("d", "day", "days"): 24.0,
  ("w", "wk", "wks", "week", "weeks"): 168.0,
  ("month", "months"): 365.25 * 2,
  ("y", "yr", "yrs", "year", "years"): 365.25 * 24,
}
_HOURS = {word: hours for words, hours in _TIMES.items() for word in words}
_DEVICES = {word + end: ANY for word in ("gpu", "device", "accelerator", "card", "chip") for end in ("", "s")}
_DEVICES |= {"tpu": ANY_TPU, "tpus": ANY_TPU}
_COUNTED = (
  "a",
  "one",
  "two",
  "three",
  "four",
  "five",
  "six",
  "seven",
  "eight",
  "nine",
  "ten",
  "eleven",
  "twelve",
)
# Numbers written as words. "an" counts as one, as in "an hour"; what stands first counts as one, too.
_NUMBERS = {word: float(max(value, 1)) for value, word in enumerate(_COUNTED)} | {"an": 1.0}
_CURRENCIES = {
  "$": "$",
  "usd": "$",
  "dollar": "$",
  "dollars": "$",
  "€": "€",
  "eur": "€",
  "euro": "€",
  "euros": "€",
  "£": "£",
  "gbp": "£",
}
_SHARES = ("mfu", "utilization", "utilisation")
_JOINING = ("of", "on", "for", "with", "using", "in", "and", "the", "at", "compute", "@", "+", ",")
_RATE_ENDS = ("s", "sec", "second")
_WORK = ("flops", "device_hours")  # amounts that a number multiplies


@dataclasses.dataclass(frozen=True)
class BudgetAmounts:
  """The amounts that a text states; None for an amount that it does not state.

  Attributes:
    flops: training FLOPs.
    hours: wall time.
    device_hours: hours over all devices.
    money: money to spend.
    price: price of one device-hour.
    device: a name, `THIS_MACHINE`, `ANY` or `ANY_TPU`.
    count: number of devices.
    utilization: share of the device's peak.
  """

  flops: float | None = None
  hours: float | None = None
  device_hours: float | None = None
  money: float | None = None
  price: float | None = None
  device: str | None = None
  count: float | None = None
  utilization: float | None = None


class _BudgetFactor(NamedTuple):
  """A part of a budget: kind (a field of `BudgetAmounts`, number, unit, rate, times or join), value, text, device."""

  kind: str
  value: float
  text: str
  device: str = ""


def read_amounts(text: str, devices: Iterable[str]) -> BudgetAmounts:
  """Returns the amounts that a text states.

  Args:
    text: the budget in words.
    devices: names of devices in lower case.

  Raises:
    UserError: for an unknown word, an amount that is given twice, and a text without an amount.

  >>> amounts = read_amounts("8 H100 for 3 days", ["h100"])
  >>> amounts.count, amounts.device, amounts.hours
  (8.0, 'h100', 72.0)
  """
  reader = _BudgetReader(text, budget_lexer.budget_tokens(text, devices))
  return _BudgetTerms(text, _with_work(list(reader.factors()))).amounts()


class _BudgetReader:
  """Reads tokens into factors, left to right."""

  def __init__(self, text: str, tokens: list[BudgetToken]) -> None:
    self.text, self.tokens, self.place = text, tokens, 0
    self.currencies: set[str] = set()

  def factors(self) -> Iterator[_BudgetFactor]:
    while self.place < len(self.tokens):
      for read in (
        self._money,
        self._share,
        self._number,
        self._device,
        self._flops,
        self._unit,
        self._joining,
      ):
        begun = self.place
        factor = read()
        if factor is not None:
          yield factor
          break
        self.place = begun
      else:
        raise budget_lexer.not_understood(self.text, self.tokens[self.place].text)
    if len(self.currencies) > 1:
      raise UserError(f"{self.text!r} has two currencies, {' and '.join(sorted(self.currencies))}; give one")

  def _next(self, *words: str) -> BudgetToken | None:
    """Returns the next token and steps over it, if it is one of these words."""
    if self.place < len(self.tokens) and self.tokens[self.place].word in words:
      self.place += 1
      return self.tokens[self.place - 1]
    return None

  def _quantity(self) -> tuple[float, str] | None:
    """Returns a number with its magnitude (10k, 3 billion), and its text."""
    token = self.tokens[self.place] if self.place < len(self.tokens) else None
    if token is None or not (token.kind == "number" or token.word in _NUMBERS):
      return None
    self.place += 1
    value, text = (token.value if token.kind == "number" else _NUMBERS[token.word]), token.text
    if self.place < len(self.tokens) and self.tokens[self.place].text == "m":
      raise UserError(f"{self.text!r} is not a budget: m is minutes or millions; write min or M")
    while unit := self._next("m", *_MAGNITUDES):
      value, text = value * (1e6 if unit.word == "m" else _MAGNITUDES[unit.word]), text + unit.text
    return value, text

  def _money(self) -> _BudgetFactor | None:
    before = self._next(*_CURRENCIES)
    amount = self._quantity()
    sign = before or (self._next(*_CURRENCIES) if amount else None)
    if amount is None or sign is None:
      return None
    self.currencies.add(_CURRENCIES[sign.word])
    if not self._next("/", "per", "a", "an"):
      return _BudgetFactor("money", *amount)
    device = self._device()
    self._next("/", "per")
    hours = self._next(*_HOURS)
    if hours is None:
      raise UserError(f"{self.text!r} is not a budget: give a price as $2/h, money for one device's hour")
    return _BudgetFactor("price", amount[0] / _HOURS[hours.word], amount[1], device.device if device else "")

  def _share(self) -> _BudgetFactor | None:
    """Reads 40 %, at .4, 40 % MFU, MFU 0.4."""
    at, named = self._next("at", "@"), self._next(*_SHARES)
    self._next("of", "=") if named else None
    amount = self._quantity()
    if amount is None:
      return None
    percent = self._next("%", "percent")
    after = self._next(*_SHARES) or (percent and self._of_peak())
    if not (named or percent or after or (at and self._number_stands_alone())):
      return None
    return _BudgetFactor(
      "utilization", amount[0] / (100 if percent else 1), amount[1] + (" %" if percent else "")
    )

  def _of_peak(self) -> BudgetToken | None:
    """Steps over "of peak" or "of the peak"."""
    begun = self.place
    self._next("of"), self._next("the")
    peak = self._next("peak")
    self.place = self.place if peak else begun
    return peak

  def _number_stands_alone(self) -> bool:
    """Returns whether no unit, device or sign follows a number."""
    if self.place == len(self.tokens):
      return True
    following = self.tokens[self.place]
    return (following.kind == "word" and following.word in _JOINING) or following.word in (",", "@")

  def _number(self) -> _BudgetFactor | None:
    amount = self._quantity()
    return amount and _BudgetFactor("number", *amount)

  def _device(self) -> _BudgetFactor | None:
    if self.place >= len(self.tokens):
      return None
    token = self.tokens[self.place]
    if token.kind == "device":
      self.place += 1
      self._next(*_DEVICES)  # 8 H100 GPUs
      return _BudgetFactor("device", 1.0, token.text, token.word)
    if self._next(*_DEVICES):
      return _BudgetFactor("device", 1.0, token.text, _DEVICES[token.word])
    if self._next("this") and self._next("machine"):
      return _BudgetFactor("device", 1.0, "this machine", THIS_MACHINE)
    return None

  def _flops(self) -> _BudgetFactor | None:
    """Reads FLOPs, and rates such as PF/s, PFLOP/s and petaflops, which a time turns into FLOPs."""
    token = self.tokens[self.place]
    for prefix in ("", *_PREFIXES, "m", *_LETTERS):
      rest = token.word.removeprefix(prefix) if token.kind == "word" and token.word.startswith(prefix) else ""
      if rest in ("flop", "flops") or (prefix and rest in ("f", "fs", "fps")):
        self.place += 1
        size = 1.0 if not prefix else 1e6 if prefix == "m" else _MAGNITUDES[prefix]
        if self._next("/", "per"):
          if not self._next(*_RATE_ENDS):
            return None
          return _BudgetFactor("rate", size, token.text + "/s")
        return _BudgetFactor("flops" if rest in ("flop", "flops") else "rate", size, token.text)
    return None

  def _unit(self) -> _BudgetFactor | None:
    unit = self._next(*_HOURS)
    return unit and _BudgetFactor("unit", _HOURS[unit.word], unit.text)

  def _joining(self) -> _BudgetFactor | None:
    token = self.tokens[self.place]
    self.place += 1
    if token.kind == "times" or token.word == "times":
      return _BudgetFactor("times", 1.0, token.text)
    return _BudgetFactor("join", 1.0, token.text) if token.word in _JOINING else None


def _with_work(factors: list[_BudgetFactor]) -> list[_BudgetFactor]:
  """Joins a number with its unit of time, and a device or a rate with the unit that follows: work."""
  merged: list[_BudgetFactor] = []
  for factor in factors:
    last = merged[-1] if merged else None
    if factor.kind != "unit" or last is None:
      merged.append(factor)
    elif last.kind == "number":
      merged[-1] = _BudgetFactor("hours", last.value * factor.value, f"{last.text} {factor.text}")
    elif last.kind in ("rate", "flops"):
      merged[-1] = _BudgetFactor("flops", last.value * factor.value * 3600, f"{last.text}-{factor.text}")
    elif last.kind == "device" and last.device != THIS_MACHINE:
      merged[-1] = _BudgetFactor("device_hours", factor.value, f"{last.text}-{factor.text}", last.device)
    else:
      merged.append(factor)
  return merged


class _BudgetTerms:
  """Multiplies the factors of each term, and combines the amounts of all terms."""

  def __init__(self, text: str, factors: list[_BudgetFactor]) -> None:
    self.text, self.factors = text, factors
    self.stated: dict[str, float] = {}
    self.device: str | None = None
    self.stray: list[float] = []

  def amounts(self) -> BudgetAmounts:
    for term in self._terms():
      self._add(term)
    for value in self.stray:
      if len(self.stray) > 1 or set(self.stated) & {"flops", "hours", "device_hours", "money"}:
        self._fail(f"the number {value:g} has no unit; add one, as in 8 h100, or multiply it with x")
      self.stated["flops"] = value
    sizes = [name for name in ("flops", "hours", "device_hours", "money") if name in self.stated]
    if len(sizes) != 1:
      names = {"flops": "FLOPs", "hours": "a time", "device_hours": "device-hours", "money": "money"}
      what = " and ".join(names[name] for name in sizes) or "no amount"
      self._fail(f"it has {what}, but it must have one of FLOPs, a time, device-hours and money")
    return BudgetAmounts(**self.stated, device=self.device)

  def _terms(self) -> Iterator[list[_BudgetFactor]]:
    """Yields groups of factors: joined by "x", or a number and the factor after it."""
    term: list[_BudgetFactor] = []
    times = False  # whether the last factor was "x"
    for factor in self.factors:
      if factor.kind in ("unit", "rate"):
        self._unfinished(factor)
      if factor.kind == "times":
        if times or not term:
          self._fail(f"nothing precedes {factor.text!r}")
        times = True
        continue
      if factor.kind == "join" and times:
        self._fail(f"{factor.text!r} follows x")
      binds = bool(term) and term[-1].kind == "number" and factor.kind in ("device", *_WORK)
      if times and factor.kind == "hours" and any(previous.kind == "hours" for previous in term):
        self._fail("times cannot be multiplied")
      if term and not (times or binds or self._goes_on(term, factor)):
        yield term
        term = []
      times = False
      if factor.kind != "join":
        term = [*term, factor]
      elif term and factor.text.lower() not in ("and", "+", ","):
        yield term
        term = []
    if times:
      self._fail("nothing follows x")
    if term:
      yield term

  @staticmethod
  def _goes_on(term: list[_BudgetFactor], factor: _BudgetFactor) -> bool:
    """Returns whether a term of time alone goes on: 1 day 12 h, 1 day and 12 h."""
    return all(previous.kind == "hours" for previous in term) and (
      factor.kind == "hours" or (factor.kind == "join" and factor.text.lower() in ("and", "+", ","))
    )

  def _unfinished(self, factor: _BudgetFactor) -> NoReturn:
    if factor.kind == "unit":
      self._fail(f"{factor.text!r} has no number before it")
    self._fail(
      f"{factor.text!r} is a rate; add a time, as in 3 PF/s-days, or give the peak with --gpu=1e15 --hours=3"
    )

  def _add(self, term: list[_BudgetFactor]) -> None:
    """Adds the amount of a term: its numbers multiply its work, or else count its devices."""
    kinds = [factor.kind for factor in term]
    number = math.prod(factor.value for factor in term if factor.kind == "number")
    for factor in term:
      if factor.device:
        self._name(factor)
    apart = {"money", "price", "utilization"}
    if len(term) > 1 and (set(kinds) & apart or ("device" in kinds and set(kinds) & set(_WORK))):
      self._fail(f"{term[0].text!r} and {term[1].text!r} cannot be multiplied")
    if set(kinds) <= {"number"}:
      self.stray.append(number)
      return
    if "number" in kinds and not set(kinds) & set(_WORK):
      self._say("count", number)
    for name in ("flops", "device_hours", "money", "price", "utilization"):
      for factor in term:
        if factor.kind == name:
          self._say(name, factor.value * (number if name in _WORK else 1.0))
    times = [factor.value for factor in term if factor.kind == "hours"]
    if times:
      self._say("hours", math.fsum(times))

  def _say(self, name: str, value: float) -> None:
    if name in self.stated:
      self._fail(f"it contains {name.replace('_', '-')} twice, {self.stated[name]:g} and {value:g}")
    self.stated[name] = value

  def _name(self, factor: _BudgetFactor) -> None:
    names = {self.device, factor.device} - {None, ANY}
    if ANY_TPU in names and any(name and name.startswith("tpu-") for name in names):
      names.discard(ANY_TPU)
    if len(names) > 1:
      self._fail(f"it names two devices, {' and '.join(sorted(map(str, names)))}")
    self.device = str(names.pop()) if names else ANY

  def _fail(self, why: str) -> NoReturn:
    excerpt = self.text if len(self.text) <= 60 else f"{self.text[:60]}..."
    raise UserError(f"{excerpt!r} is not a budget: {why}; {EXAMPLES}")
