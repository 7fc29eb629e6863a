"""A classifier of word counts: tf-idf of words and pairs of words, and logistic regression, through scikit-learn.

It reads no pre-trained model, so it shows what labels alone give.
"""

from collections.abc import Sequence

from gen.data.tasks.examples import TextExample
from gen.errors import UserError

# C of scikit-learn, whose default is 1; chosen: rows have unit length, so weights must be large to separate classes.
INVERSE_PENALTY = 10.0
_INSTALL = "word counts are classified by scikit-learn, which is not installed; run: uv sync --extra tasks"


def predict_by_words(train: Sequence[TextExample], examples: Sequence[TextExample]) -> list[str]:
  """Returns the label of each example by a classifier that is fitted on `train`.

  With one label in `train`, that is the answer.

  Args:
    train: texts, or pairs of texts, with labels.
    examples: the texts to classify.

  Raises:
    UserError: if scikit-learn is not installed, or the training texts have no words.
  """
  try:
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
  except ImportError:
    raise UserError(_INSTALL) from None
  labels = [example.label for example in train]
  if len(set(labels)) == 1:
    return labels[:1] * len(examples)
  counts = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
  try:
    features = counts.fit_transform([_text(example) for example in train])
  except ValueError as error:
    raise UserError(f"the training texts have no words to count: {error}") from None
  model = LogisticRegression(C=INVERSE_PENALTY, max_iter=1_000).fit(features, labels)
  return [str(label) for label in model.predict(counts.transform([_text(each) for each in examples]))]


def _text(example: TextExample) -> str:
  return f"{example.text}\n{example.second_text}" if example.second_text else example.text
