"""The visible text of an HTML page, in time linear in its length for any content."""

import html
import re

HIDDEN = (
  "script",
  "style",
  "head",
  "template",
  "noscript",
  "svg",
  "math",
  "iframe",
  "object",
  "textarea",
  "select",
)
BLOCKS = frozenset(
  [
    "address",
    "article",
    "aside",
    "blockquote",
    "br",
    "caption",
    "dd",
    "details",
    "div",
    "dl",
    "dt",
    "fieldset",
    "figcaption",
    "figure",
    "footer",
    "form",
    "h1",
    "h2",
    "h3",
    "h4",
    "h5",
    "h6",
    "header",
    "hr",
    "html",
    "li",
    "main",
    "nav",
    "ol",
    "p",
    "pre",
    "section",
    "summary",
    "table",
    "tbody",
    "td",
    "tfoot",
    "th",
    "thead",
    "title",
    "tr",
    "ul",
    "body",
  ]
)
MAX_TAGS = 500_000  # of one page; a page with more is refused
_NAME = re.compile(r"/?([a-zA-Z][a-zA-Z0-9]{0,15})")
_CLOSING = {name: re.compile(rf"</{name}[\s>/]", re.I) for name in HIDDEN}
_BLANKS = re.compile(r"[ \t\r\f\v\xa0]+")


def visible_text(page: str) -> str:
  r"""Returns the text of a page without markup, scripts and styles; each block is on separate lines.

  Raises:
    ValueError: for more than 500,000 tags.

  >>> visible_text("<html><head><title>x</title></head><p>a &amp; b</p><script>1</script><p>c")
  'a & b\n\nc\n'
  """
  lines = [_BLANKS.sub(" ", line).strip() for line in "".join(_pieces(page)).split("\n\n")]
  paragraphs = [re.sub(r"\s*\n\s*", " ", line) for line in lines if line]
  return "\n\n".join(paragraphs) + "\n" if paragraphs else ""


def _pieces(page: str) -> list[str]:
  if page.count("<") > MAX_TAGS:
    raise ValueError(f"it is a page of more than {MAX_TAGS:,} tags")
  pieces: list[str] = []
  unclosed: set[str] = (
    set()
  )  # closing tags that do not occur in the rest: not searched again, so time stays linear
  start = 0
  while (mark := page.find("<", start)) >= 0:
    pieces.append(html.unescape(page[start:mark]))
    if page.startswith("<!--", mark):
      end = page.find("-->", mark + 4)
      start = end + 3 if end >= 0 else len(page)  # browsers treat the rest as the comment
      continue
    named = _NAME.match(page, mark + 1)
    if not named and page[mark + 1 : mark + 2] not in ("!", "?", "/"):
      pieces.append("<")
      start = mark + 1
      continue
    end = page.find(">", mark)
    if end < 0:
      return pieces
    start = end + 1
    name = named[1].lower() if named else ""
    if name in BLOCKS:
      pieces.append("\n\n")
    if name in _CLOSING and name not in unclosed and page[mark + 1] != "/" and page[end - 1] != "/":
      closing = _CLOSING[name].search(page, start)
      if closing:
        start = page.find(">", closing.start()) + 1 or len(page)
      else:
        unclosed.add(name)
  pieces.append(html.unescape(page[start:]))
  return pieces
