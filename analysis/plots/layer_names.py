"""L00, L01, ... as everywhere in this project."""

from __future__ import annotations


def layer_names(n_layer: int) -> list[str]:
    """Names of all layers."""
    return [f"L{layer:02d}" for layer in range(n_layer)]


def some_layers(n_layer: int) -> list[int]:
    """The first, the middle and the last; fewer where there are fewer."""
    return sorted({0, n_layer // 2, n_layer - 1})
