"""A fingerprint of weights by parameter group, to prove that two arms started equal where they should."""

from __future__ import annotations

import hashlib

from camoe.model.language_model import LanguageModel
from camoe.model.parameter_groups import parameter_groups


def weights_hash(model: LanguageModel) -> dict[str, str]:
    """First 16 hexadecimal digits of the sha256 of every parameter group's names and values."""
    hashes = {}
    for group, parameters in parameter_groups(model).items():
        digest = hashlib.sha256()
        for name, parameter in sorted(parameters.items()):
            digest.update(name.encode())
            digest.update(parameter.detach().float().cpu().contiguous().numpy().tobytes())
        hashes[group] = digest.hexdigest()[:16]
    return hashes
