"""Personal data in a text, replaced by marks: addresses, numbers and keys that identify a person or open an account."""

import re
from collections.abc import Callable

from gen.config.curation import PersonalData
from gen.data.curation.rules import personal_checks
from gen.data.curation.rules.verdicts import Kept, Verdict
from gen.data.document import Document

_LABEL = r"[^\W_](?:[\w-]{0,61}[^\W_])?"  # of a host, also one of a script other than Latin
_HOST = rf"(?:{_LABEL}\.){{1,8}}[^\W\d_]{{2,24}}"
_LOCAL = r"[^\W_][\w.+%'-]{0,63}"
_EMAIL = re.compile(
  rf"(?<![\w.+%/-])(?:{_LOCAL}|\"[^\"\s@]{{1,64}}\")(?:[@＠]|&#0?64;|&#x40;){_HOST}(?![\w@-])"
)
# Ends of hosts in addresses that hide their signs.
_END = (
  r"(?:com|org|net|edu|gov|mil|int|info|biz|io|ai|dev|app|co|eu|uk|de|fr|it|es|nl|be|ch|at|se|no|dk|fi|pl|cz|pt|ru|jp"
  r"|cn|kr|in|br|au|nz|ca|mx|za|us|tv|me)"
)
_SPELLED_DOT = r"\s?(?:\.|[\[({<]\s?(?:dot|DOT|\.)\s?[\])}>]|(?<=\s)(?:dot|DOT)(?=\s))\s?"
_SPELLED_EMAIL = re.compile(
  rf"(?<![\w.+%/-]){_LOCAL}"
  # Ends that are words too, as in "at noon dot in", are none of plain words.
  r"(?:\s?[\[({<]\s?(?:at|AT|@)\s?[\])}>]\s?|\s@\s"  # jane (at) acme.org, jane @ acme.org
  # jane at acme dot org
  rf"|\s(?:at|AT)\s(?=(?:[\w-]{{1,63}}\s(?:dot|DOT)\s){{1,5}}(?!(?:at|be|in|it|no|us)\b){_END}\b))"
  rf"(?:{_LABEL}{_SPELLED_DOT}){{1,6}}{_END}(?![\w@-])"
)
_PHONE = re.compile(
  r"(?<![\w.,:/#=+$€£%-])(?:"
  r"\+\d{1,3}[ .-]?(?:\(0?\d{1,4}\)[ .-]?)?\d{1,4}(?:[ ./-]?\d{2,5}){1,5}"  # +44 20 7946 0958
  r"|(?:(?:1|001)[ .-]?)?\(\d{3}\)[ .-]?\d{3}[ .-]\d{4}"  # (212) 555-0187
  r"|(?:(?:1|001)[ .-])?\d{3}([ .-])\d{3}\1\d{4}"  # 212-555-0187
  r"|0\d{2,4}[ /-]\d{3,4}[ -]?\d{3,5}|0\d{4,5}[ -]\d{5,6}"  # 020 7946 0958, 030/901820, 098765 43210
  r"|\(0\d{0,5}\)[ .-]?\d{2,4}(?:[ .-]?\d{2,5}){1,3}"  # (020) 7946 0958, (0)30 901820
  r"|00 ?\d{2}[ .-]?\d{2,4}(?:[ .-]?\d{2,4}){2,4}"  # 0049 30 901820
  r"|1[3-9]\d([ -])\d{4}\2\d{4}"  # 138-0013-8000
  r"|0\d(?:[ .]\d{2}){4}"  # 01 42 68 53 00
  r")(?: ?(?:x|ext\.?) ?\d{1,5})?(?![\w%]|[.,:/-]\d)"
)
_LABELLED_PHONE = re.compile(
  r"(?i:\b(?:phone|telephone|tel|mobile|cell|fax|call|whatsapp)(?: (?:me|us|at|on|no|number|is)){0,3}[.:]{0,2} {1,2})"
  r"(\(?\d[\d ().-]{5,17}\d)(?![\w%]|[.,:/-]\d)"
)
_STREET = (
  r"Street|St|Avenue|Ave|Road|Rd|Boulevard|Blvd|Lane|Ln|Drive|Dr|Court|Ct|Square|Sq|Place|Pl|Terrace|Ter|Highway|Hwy"
  r"|Parkway|Pkwy|Circle|Cir|Crescent|Way"
)
_CAPITAL = r"[A-Z][a-z'’]{1,20}"
_NAME = (
  rf"(?:(?:[NSEW]|North|South|East|West)\.? )?(?:\d{{1,3}}(?:st|nd|rd|th)|{_CAPITAL}(?: {_CAPITAL}){{0,2}})"
)
_STATE = (
  r"A[KLRZ]|C[AOT]|D[CE]|FL|GA|HI|I[ADLN]|K[SY]|LA|M[ADEINOST]|N[CDEHJMVY]|O[HKR]|PA|RI|S[CD]|T[NX]|UT|V[AT]"
  r"|W[AIVY]"
)
_CITY = rf"{_CAPITAL}(?:[ -]{_CAPITAL}){{0,2}}"
_CODE = rf"(?:(?:{_STATE}) \d{{5}}(?:-\d{{4}})?|[A-Z]{{1,2}}\d[A-Z\d]? ?\d[A-Z]{{2}})"
_ADDRESS = re.compile(
  rf"(?<![\w.,-])\d{{1,5}}[A-Za-z]? {_NAME} (?:{_STREET})\b\.?"
  r"(?:,? (?:Apt|Apartment|Suite|Ste|Unit|Floor|Fl|#)\.? ?[\w-]{1,6})?"
  rf"(?:(?:,\s{{0,2}}|\n){_CITY},?\s{{1,2}}{_CODE}(?!\w))?"
  rf"|\b{_CITY}, (?:{_STATE}) \d{{5}}(?:-\d{{4}})?(?!\w)"
  r"|\b[A-ZÄÖÜ][a-zäöüß-]{2,25}(?:straße|strasse|str\.|gasse|weg|allee|platz) \d{1,4}[a-z]?"
  r"(?:,\s?\d{5} [A-ZÄÖÜ][\wäöüß-]+)?"
  r"|\bP\.? ?O\.? Box \d{1,6}"
)
_INTERNET = re.compile(
  r"(?:(?<=//)|(?<![\w.:/-]))(?:\d{1,3}\.){3}\d{1,3}(?![\w-]|\.\d)"
  r"|(?<![\w:.])(?:[0-9a-fA-F]{0,4}:){3,7}[0-9a-fA-F]{1,4}(?![\w:.])"
)
_GAP = "[ \u00a0\u2011–-]"  # between the groups of a number; the second and third are typographic
_CARD = re.compile(
  rf"(?<![\w.-])(?:\d{{13,19}}|\d{{4}}({_GAP})\d{{4}}\1\d{{4}}\1\d{{1,7}}(?:\1\d{{1,3}})?"
  rf"|3\d{{3}}({_GAP})\d{{6}}\2\d{{4,5}}|\d{{6}}{_GAP}\d{{7,13}})(?![\w]|[.-]\d)"
)
# Countries by the characters of their account numbers, from the registry of ISO 13616.
_IBAN_COUNTRIES = {
  15: "NO", 16: "BE", 18: "DK FI FO GL NL SD", 19: "MK SI", 20: "AT BA EE KZ LT LU MN XK", 21: "CH CR HR LI LV",
  22: "BG BH DE GB GE IE ME RS", 23: "AE GI IL IQ TL OM SO", 24: "AD CZ ES MD PK RO SA SE SK TN VG",
  25: "LY PT ST", 26: "IS TR", 27: "BI DJ FR GR IT MC MR SM", 28: "AL AZ BY CY DO GT HU LB NI PL SV",
  29: "BR EG PS QA UA", 30: "JO KW MU YE", 31: "MT SC", 32: "LC", 33: "RU",
}  # fmt: skip


def _iban_pattern() -> str:
  """Returns the pattern of account numbers, in groups of four or without gaps, each as long as its country's are."""
  forms = []
  for length, countries in _IBAN_COUNTRIES.items():
    groups, rest = divmod(length - 4, 4)
    forms.append(
      rf"(?:{'|'.join(countries.split())})\d\d(?:{_GAP}?[A-Z\d]{{4}}){{{groups}}}"
      + (rf"{_GAP}?[A-Z\d]{{{rest}}}" if rest else "")
    )
  return rf"(?<!\w)(?=[A-Z]{{2}}\d)(?:{'|'.join(forms)})(?!\w)"


_IBAN = re.compile(_iban_pattern(), re.I)
_KEY = re.compile(
  r"-----BEGIN (?:[A-Z]+ )*PRIVATE KEY(?: BLOCK)?-----[\s\S]{0,10000}?-----END (?:[A-Z]+ )*PRIVATE KEY(?: BLOCK)?-----"
  r"|https://hooks\.slack\.com/services/[\w/]{20,100}"
  r"|(?<![\w-])(?:"
  r"A(?:KIA|SIA)[A-Z0-9]{16}"  # Amazon Web Services
  r"|gh[pousr]_[A-Za-z0-9]{36,255}|github_pat_[A-Za-z0-9_]{60,255}"  # GitHub
  r"|glpat-[\w-]{20,64}|xox[abeprs]-[A-Za-z0-9-]{10,200}|xapp-\d-[A-Za-z0-9-]{20,200}"  # GitLab, Slack
  # OpenAI, Anthropic, Stripe
  r"|sk-(?:proj-|ant-[a-z0-9]+-)?(?=[\w-]{0,200}\d)(?=[\w-]{0,200}(?:[A-Z]|[0-9a-f]{32}))[A-Za-z0-9_-]{32,200}"
  r"|[sr]k_(?:live|test)_[A-Za-z0-9]{16,100}"
  r"|AIza[\w-]{35}|ya29\.[\w-]{20,300}|hf_[A-Za-z0-9]{30,60}|npm_[A-Za-z0-9]{36}|pypi-[\w-]{50,250}"
  r"|SG\.[\w-]{22}\.[\w-]{43}|SK[0-9a-f]{32}|\d{8,10}:AA[\w-]{33}"  # SendGrid, Twilio, Telegram
  r"|(?:dop_v1|shpat|shpss)_[0-9a-f]{32,64}"  # DigitalOcean, Shopify
  r"|eyJ[\w-]{10,2000}\.eyJ[\w-]{10,4000}\.[\w-]{10,1000}"  # JSON Web Token
  r")(?![\w-])"
)
_ASSIGNED = re.compile(
  r"(?:(?i:api[_-]?key|secret(?:[_-]?(?:access)?[_-]?key)?|(?:access|account|private|signing|encryption)[_-]?key"
  r"|(?:access|auth|refresh|bot)[_-]?token|client[_-]?secret|password|passwd|pwd)[\"']?\s{0,3}[:=]\s{0,3}[\"']?"
  r"|(?i:\bbearer\s)|://[^\s:/@]{1,64}:(?=[^\s/@]{16,200}@))"  # also of a URL: scheme://name:password@host
  r"([A-Za-z0-9+/_=.~-]{16,200})(?![\w(])"
)
_Check = Callable[[re.Match[str]], bool]
# (field of the config, mark, signs of which one must occur, pattern, check); a key comes before what may be part of it.
_KINDS: tuple[tuple[str, str, str, re.Pattern[str], _Check | None], ...] = (
  ("keys", "<key>", "", _KEY, None),
  ("keys", "<key>", "", _ASSIGNED, personal_checks.is_secret),
  ("emails", "<email>", "@＠&", _EMAIL, personal_checks.is_email),
  ("emails", "<email>", "@tT", _SPELLED_EMAIL, personal_checks.is_email),
  ("cards", "<card>", "0123456789", _CARD, personal_checks.is_card),
  ("cards", "<account>", "0123456789", _IBAN, personal_checks.is_iban),
  ("internet_addresses", "<ip>", ".:", _INTERNET, personal_checks.is_public_address),
  ("addresses", "<address>", "0123456789", _ADDRESS, personal_checks.is_postal_address),
  ("phones", "<phone>", "0123456789", _PHONE, personal_checks.is_phone),
  ("phones", "<phone>", "0123456789", _LABELLED_PHONE, personal_checks.is_labelled_phone),
)
# Checks of patterns whose first group alone is replaced: a word before it stays.
_OF_A_GROUP = (personal_checks.is_secret, personal_checks.is_labelled_phone)


def replace_personal_data(document: Document, parameters: PersonalData) -> Verdict:
  """Replaces personal data by marks; the counts say how many of each."""
  text = document.text
  counts: dict[str, int] = {}
  for field, mark, signs, pattern, check in _KINDS:
    if not getattr(parameters, field) or (signs and not any(sign in text for sign in signs)):
      continue
    text, count = _replace(text, mark, pattern, check)
    if count:
      counts[mark] = counts.get(mark, 0) + count
  return Kept(Document(document.name, text), counts=counts) if counts else document


def _replace(text: str, mark: str, pattern: re.Pattern[str], check: _Check | None) -> tuple[str, int]:
  """Returns the text with each match that passes the check replaced, and their number."""
  count = 0

  def mark_of(match: re.Match[str]) -> str:
    nonlocal count
    if check is not None and not check(match):
      return match[0]
    count += 1
    return match[0].replace(match[1], mark) if check in _OF_A_GROUP else mark

  return pattern.sub(mark_of, text), count
