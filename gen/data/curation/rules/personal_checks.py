"""Checks of what looks like personal data: check digits, and what numbers and names of other kinds look like.

A pattern finds too much: a row of a table is as long as a phone number, and a version has the form of an address. Each
check looks at the match and at the characters beside it.
"""

import ipaddress
import itertools
import re

_DIGITS = re.compile(r"\D")
# Lengths and first digits that the networks issue: Visa, Mastercard, American Express, Diners Club, and Discover, JCB
# and UnionPay.
_CARD_NUMBER = re.compile(
  r"4(?:\d{12}|\d{15}|\d{18})|(?:5[1-5]\d\d|2(?:22[1-9]|2[3-9]\d|[3-6]\d\d|7[01]\d|720))\d{12}|3[47]\d{13}"
  r"|(?:3[689]\d|30[0-5])\d{11}|(?:6011|65\d\d|64[4-9]\d|62\d\d|352[89]|35[3-8]\d)\d{12,15}"
)
# After a card its date may stand, as 1225 or 2027; other groups of four belong to a longer row of numbers.
_GROUP_AFTER = re.compile(r" (?!(?:0[1-9]|1[0-2]|20)\d\d(?!\d))\d{4}(?!\d)")
_GROUP_BEFORE = re.compile(r"(?<!\w)\d{4} $")
# What stands before numbers of versions, sections and enzymes, which have the form of an address.
_BEFORE_VERSION = re.compile(
  r"(?:\b(?:versions?|ver|v|releases?|rev|revision|builds?|firmware|ec|oid|sections?|sect?|chapters?|clauses?|articles?"
  r"|paragraphs?|figures?|fig|tables?|appendix|items?)[.:]?\s?[:=]?\s?|[=<>~!]=\s?|§\s?)$",
  re.I,
)
_BEFORE_ADDRESS = re.compile(r"\b(?:ip|ipv4|addr|address|dns|host|ping|peer|client)\W{0,3}$", re.I)
_SMALL = 20  # 1 address in 27,000 has four numbers below it, and most versions have
_BEFORE_PHONE = re.compile(r"\b(?:phone|telephone|tel|mobile|cell|fax)\W{0,3}$", re.I)
_DECIMAL = re.compile(r"\+\d+\.\d+")
_GROUPED_DECIMAL = re.compile(r"1\.\d{3}[ -]")  # as in 1.602 176 6208
_NETWORK_AFTER = re.compile(r"/(?:[12]?\d|3[01])(?!\d)")  # 192.52.193.0/24 is no single machine
_DATE = re.compile(r"\+?(?:1[89]|20)\d\d([-.])\d\d?\1\d\d?(?!\d)|\d\d?([-.])\d\d?\2(?:1[89]|20)\d\d(?!\d)")
_YEAR = re.compile(r"(?:1[89]|20)\d\d")
_HEX_AFTER = re.compile(r" (?=[a-f]*\d)[\da-f]{1,8}(?!\w)", re.I)
_HEX_BEFORE = re.compile(r"(?<!\w)(?=[a-f]*\d)[\da-f]{1,8} $", re.I)
_DOTTED = re.compile(r"(?:\d{1,3}\.){3}\d{1,3}")
_WORD_LABEL = re.compile(r"(?:call|cell|mobile) +", re.I)  # words of other senses
_MONTH = (
  r"(?:Jan(?:uary)?|Feb(?:ruary)?|Mar(?:ch)?|Apr(?:il)?|May|June?|July?|Aug(?:ust)?|Sept?(?:ember)?|Oct(?:ober)?|Nov(?:ember)?"
  r"|Dec(?:ember)?)"
)
_NO_STREET = re.compile(
  rf"\d+[A-Za-z]? (?:{_MONTH} (?:St|Dr|Sq|Pl)\b"
  r"|(?:\w+ )*?(?:Supreme|District|Circuit|High|Federal|Superior|Appeals?|Family|Criminal|Constitutional|Magistrates"
  r"|County|Crown|Juvenile|Tennis|Food|Moot) Court\b"
  r"|(?:\w+ )*?(?:Hard|Disk|Google|Flash|Tape|Optical|Thumb|Test|State) Drive\b"
  r"|(?:\w+ )*?(?:Milky|Either|Another) Way\b|(?:\w+ )*?(?:First|Second|Third|Fourth|Fifth|Last) Place\b)"
  r"|\w*(?:[Aa]rbeits|[Ss]peicher|[Ss]tell|[Pp]ark|[Ss]itz|[Ll]isten|[Tt]abellen|[Ss]tart|[Ss]tudien|[Mm]edaillen)platz\b"
  r"|(?:Aus|Um|Rück|Hin|Heim|Mittel|Schul|Arbeits)weg\b"
)
_YEAR_NUMBER = re.compile(r"(?:1[5-9]|20)\d\d [^,\n]*")
_BEFORE_YEAR = re.compile(
  r"\b(?:in|since|until|by|of|from|during|after|before|early|late|mid|and|the)[ -]$", re.I
)
_PICTURE = re.compile(r"\dx\.(?:png|jpe?g|gif|webp|svg)", re.I)
_CAMEL = re.compile(r"[A-Z]?[a-z]{3,}|[A-Z]{4,}")
_ATTRIBUTE = re.compile(
  r"(?:self|cls|this|settings|config|conf|os|env|environ|process|args|options|params|secrets?)\.\w"
)


def has_luhn_digit(number: str) -> bool:
  """Returns whether the last digit of a card number is its check digit (ISO/IEC 7812-1, Luhn).

  >>> has_luhn_digit("4111111111111111"), has_luhn_digit("4111111111111112")
  (True, False)
  """
  digits = [int(digit) for digit in reversed(number)]
  return (sum(digits[::2]) + sum(sum(divmod(2 * digit, 10)) for digit in digits[1::2])) % 10 == 0


def is_card(match: re.Match[str]) -> bool:
  """Returns whether a number is that of a card: its network, length and check digit, and no part of a longer row."""
  number = _DIGITS.sub("", match[0])
  if not _CARD_NUMBER.fullmatch(number) or len(set(number)) == 1 or not has_luhn_digit(number):
    return False
  before, after = _around(match)
  in_row = " " in match[0] and (_GROUP_BEFORE.search(before) or _GROUP_AFTER.match(after))
  return not in_row and not (len(number) == 13 and _is_article(number))


def _is_article(number: str) -> bool:
  """Returns whether the check digit is that of an article's number (GTIN-13, weights 1 and 3)."""
  digits = [int(digit) for digit in number]
  return (sum(digits[::2]) + 3 * sum(digits[1::2])) % 10 == 0


def is_iban(match: re.Match[str]) -> bool:
  """Returns whether the check digits are right (ISO 13616): the number modulo 97 is 1."""
  account = re.sub(r"[^A-Z\d]", "", match[0].upper())
  return int("".join(str(int(sign, 36)) for sign in account[4:] + account[:4])) % 97 == 1


def is_public_address(match: re.Match[str]) -> bool:
  """Returns whether it is an address on the internet, not of a local network, a version, or a section."""
  before, after = _around(match)
  try:
    address = ipaddress.ip_address(match[0])
  except ValueError:
    return False
  if not address.is_global or address.is_multicast:
    return False
  if _BEFORE_VERSION.search(before) or _NETWORK_AFTER.match(after):
    return False
  # Addresses of public services, such as 8.8.8.8, repeat a number.
  is_version = address.version == 4 and max(address.packed) < _SMALL and len(set(address.packed)) > 2
  return not is_version or _BEFORE_ADDRESS.search(before) is not None


def is_phone(match: re.Match[str]) -> bool:
  """Returns whether it has as many digits as numbers have, and is no decimal, no date, and no row of numbers."""
  text = re.split("x|ext", match[0])[0]
  groups = re.findall(r"\d+", text)
  digits = "".join(groups)
  # ITU-T E.164 allows at most 15 digits. Shorter ones, and those of few different digits, are other numbers.
  if not 9 <= len(digits) <= 15 or len(set(digits)) <= 3 or _DATE.match(text):
    return False
  before, after = _around(match)
  if text.startswith("+"):
    # The countries 1 and 7 have numbers of one length; no country's number begins with 0.
    if digits[0] == "0" or (digits[0] in "17" and len(digits) != 11):
      return False
    return not _DECIMAL.fullmatch(text) or _BEFORE_PHONE.search(before) is not None
  if _GROUPED_DECIMAL.match(text):
    return False
  in_row = re.fullmatch(r"[\d ]+", text) and (_HEX_BEFORE.search(before) or _HEX_AFTER.match(after))
  return not in_row and not _is_list(groups)


def _is_list(groups: list[str]) -> bool:
  """Returns whether groups of digits are numbers of a list: round ones, years, or small ones in ascending order."""
  last = groups[-2:]
  if len(last) == 2 and all(len(each) > 2 and (int(each) % 64 == 0 or int(each) % 100 == 0) for each in last):
    return True
  if len(last) == 2 and all(_YEAR.fullmatch(each) for each in last):
    return True
  ascending = all(int(first) < int(second) for first, second in itertools.pairwise(groups))
  return len(groups) > 3 and ascending and all(len(each) <= 2 for each in groups)


def is_labelled_phone(match: re.Match[str]) -> bool:
  """Returns whether what follows a word such as "phone" has as many digits as a number, in any form."""
  number = match[1]
  groups = re.findall(r"\d+", number)
  # 7 digits: local numbers, which are too short without the word before them.
  if not 7 <= sum(map(len, groups)) <= 15 or _DATE.match(number) or _DOTTED.fullmatch(number):
    return False
  label = match.string[match.start() : match.start(1)]
  if _WORD_LABEL.fullmatch(label) and len(groups) == 1 and len(number) < 10:  # as in "call 1000000 times"
    return False
  return not _is_list(groups)


def is_postal_address(match: re.Match[str]) -> bool:
  """Returns whether it is no date before a title, no court, no drive of a computer, and no year before a name."""
  before, _ = _around(match)
  in_year = _YEAR_NUMBER.fullmatch(match[0]) and _BEFORE_YEAR.search(before)
  return not in_year and not _NO_STREET.match(match[0])


def is_email(match: re.Match[str]) -> bool:
  """Returns whether it is no product of matrices, no picture for fine screens, and no address of a repository."""
  name, _, host = re.sub(r"\s?(?:[@＠]|&#0?64;|&#x40;)\s?", "@", match[0], count=1).partition("@")
  after = _around(match)[1]
  ending = host.rpartition(".")[2]
  is_code = (
    host.startswith("self.")
    or re.search(r"[a-z][A-Z]", ending) is not None
    # A call or an index, of a name that is none of the common ends of hosts.
    or (re.match(r"[(\[]|\.\w+[(\[]", after) is not None and not re.fullmatch("com|org|net|edu|gov", ending))
  )
  return not is_code and name != "git" and not _PICTURE.fullmatch(host)


def is_secret(match: re.Match[str]) -> bool:
  """Returns whether an assigned value looks drawn at random: letters in both cases and digits, or long hex."""
  value = match[1]
  kinds = (any(map(str.isupper, value)), any(map(str.islower, value)), any(map(str.isdigit, value)))
  is_hex = re.fullmatch(r"[0-9a-f]{32,128}", value) is not None
  if len(set(value)) < 8 or not (all(kinds) or is_hex) or re.search(r"[a-z]+[._-][a-z]+[._-]", value):
    return False
  # A name of code stands without quotes, and words make up most of it.
  words = sum(map(len, _CAMEL.findall(value)))
  is_quoted = match.string[match.start(1) - 1] in "\"'"
  return is_quoted or not (_ATTRIBUTE.match(value) or words > 0.7 * len(value))


def _around(match: re.Match[str]) -> tuple[str, str]:
  """Returns the characters before and after a match, as many as a check looks at."""
  return match.string[max(0, match.start() - 24) : match.start()], match.string[
    match.end() : match.end() + 24
  ]
