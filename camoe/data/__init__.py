"""Tokenizers, preparation of text, and a loader whose position can be saved and restored."""

from camoe.data.corpus import Corpus
from camoe.data.evaluation_windows import EvaluationWindows, evaluation_windows
from camoe.data.loader import BatchLoader
from camoe.data.preparation import prepare
from camoe.data.tokenizer import Tokenizer

__all__ = ["BatchLoader", "Corpus", "EvaluationWindows", "Tokenizer", "evaluation_windows", "prepare"]
