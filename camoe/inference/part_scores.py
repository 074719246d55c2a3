"""An evaluation by the parts that tokens belong to, such as code, comments and docstrings."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from camoe.inference.domain_scores import DomainScore
from camoe.inference.evaluation import Evaluation

SEPARATORS = "end of document"


def part_scores(evaluation: Evaluation, parts: npt.NDArray[np.int8], names: Sequence[str]) -> list[DomainScore]:
    """Sums over the targets of each part; `parts` [tokens of the text] numbers into `names`, -1 for separators.

    Separators are a part of their own, of 0 bytes, so that all parts together are the whole.
    """
    windows = evaluation.windows
    places = windows.target_places
    part = np.where(parts[places] < 0, len(names), parts[places]).astype(np.int64)
    document = np.searchsorted(windows.document_starts, places, side="right")
    sizes = windows.byte_lengths[windows.tokens[places]]
    found = []
    for number, name in enumerate([*names, SEPARATORS]):
        own = part == number
        if own.any():
            nats = float(evaluation.token_nats[own].sum(dtype=np.float64))
            found.append(DomainScore(name, len(np.unique(document[own])), int(own.sum()), int(sizes[own].sum()), nats))
    return found
