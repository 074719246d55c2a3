"""An evaluation document by document: what a bootstrap over documents and a standard error need."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from camoe.inference.evaluation import Evaluation


@dataclass(frozen=True)
class DocumentScores:
    """The D documents of which at least one target was scored; a document's closing separator is one of its targets.

    document: [D] number in the held-out text, rising. tokens: [D] targets. bytes: [D] of UTF-8. nats: [D] float64.
    """

    document: npt.NDArray[np.int64]
    tokens: npt.NDArray[np.int64]
    bytes: npt.NDArray[np.int64]
    nats: npt.NDArray[np.float64]

    @classmethod
    def of(cls, evaluation: Evaluation) -> DocumentScores:
        """Sums over the targets of each document."""
        windows = evaluation.windows
        bounds = np.append(np.searchsorted(windows.target_places, windows.document_starts), windows.targets)
        tokens = np.diff(bounds)
        (document,) = tokens.nonzero()
        first = bounds[document]
        sizes = windows.byte_lengths[windows.tokens[windows.target_places]]
        nats = np.add.reduceat(evaluation.token_nats, first, dtype=np.float64)
        return cls(document, tokens[document], np.add.reduceat(sizes, first), nats)

    def bpb_error(self) -> float:
        """Standard error of bits per byte over documents drawn at random; NaN for a single document.

        Bits per byte are a ratio of sums R = sum n / sum b, with n nats and b bytes of a document, and linearised
        var R = D/(D-1) sum (n - R b)^2 / (sum b)^2 (Cochran, Sampling Techniques, 3rd ed., section 6.4).
        """
        count, total = len(self.nats), self.bytes.sum()
        if count < 2 or not total:
            return math.nan
        rest = self.nats - self.nats.sum() / total * self.bytes
        return float(math.sqrt(count / (count - 1) * (rest**2).sum()) / total / math.log(2))
