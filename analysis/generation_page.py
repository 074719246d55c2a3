"""A page of generated texts: who made every token in each layer, at what weight and price, and how hard it was."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from analysis.page import write_page
from camoe.config.experts import ExpertsConfig, expert_labels
from camoe.inference.token_routes import TokenRoutes
from camoe.inference.writer import Written
from camoe.tracking.bars import expert_colours
from camoe.tracking.printable import printable
from camoe.tracking.routed_text import family_colour

OPENING = 28  # characters


@dataclass(frozen=True)
class ShownLayer:
    """One layer's part in a token; `winners` is 'R0 0.62, T0 0.38'."""

    winners: str
    use: float
    price: float
    difficulty: float | None


@dataclass(frozen=True)
class ShownToken:
    """A token's characters, its Transformer use, the colour of it, and all layers."""

    span: str
    drawn: bool
    use: float
    colour: str
    layers: Sequence[ShownLayer]

    @property
    def quoted(self) -> str:
        """The characters with quotes, line ends and the like visible."""
        return json.dumps(self.span, ensure_ascii=False)


@dataclass(frozen=True)
class ShownExpert:
    """An expert's share of all winners, and its colour."""

    label: str
    share: float
    colour: str


@dataclass(frozen=True)
class ShownText:
    """A text: its tokens, [L] the Transformer use by layer, and the experts."""

    tokens: Sequence[ShownToken]
    use_by_layer: Sequence[float]
    experts: Sequence[ShownExpert]

    @property
    def use(self) -> float:
        """Over all layers."""
        return sum(self.use_by_layer) / len(self.use_by_layer)

    @property
    def opening(self) -> str:
        """Its first words, to find it by."""
        words = " ".join("".join(token.span for token in self.tokens[:24]).split())
        return f"{words[:OPENING]}\u2026" if len(words) > OPENING else words


def write_generation_page(
    path: Path, title: str, facts: dict[str, str], texts: Sequence[Written], experts: ExpertsConfig
) -> Path:
    """One self-contained file."""
    shown = [
        ShownText(_tokens(text, text.routes, experts), *_shares(text.routes, experts))
        for text in texts
        if text.routes is not None
    ]
    fair = experts.transformer_prefix / experts.total
    return write_page(path, "generation.html", title=title, facts=facts, texts=shown, fair=fair)


def _tokens(text: Written, routes: TokenRoutes, experts: ExpertsConfig) -> list[ShownToken]:
    labels, use = expert_labels(experts), routes.transformer_use(experts.first_prefix)
    winners, weights, serves = (
        part.transpose(0, 1).tolist() for part in (routes.experts, routes.weights, routes.serves)
    )
    prices, uses = routes.price.T.tolist(), use.T.tolist()
    hard = routes.difficulty.T.tolist() if routes.difficulty is not None else [[None] * len(row) for row in prices]
    tokens = []
    for place, span in enumerate(text.spans):
        layers = [
            ShownLayer(", ".join(f"{labels[e]} {w:.2f}" for e, w, s in zip(*won, strict=True) if s) or "nobody", *rest)
            for *won, rest in zip(
                winners[place],
                weights[place],
                serves[place],
                zip(uses[place], prices[place], hard[place], strict=True),
                strict=True,
            )
        ]
        mean = sum(uses[place]) / len(layers)
        drawn = place >= len(text.spans) - text.n_drawn
        tokens.append(ShownToken(printable(span), drawn, mean, family_colour(mean), layers))
    return tokens


def _shares(routes: TokenRoutes, experts: ExpertsConfig) -> tuple[list[float], list[ShownExpert]]:
    """Transformer use by layer, and every expert's share of all winners."""
    labels, colours = expert_labels(experts), expert_colours(experts.first_prefix, experts.total)
    load = routes.load(experts.total).tolist()
    shown = [ShownExpert(*one) for one in zip(labels, load, colours, strict=True)]
    return routes.transformer_use(experts.first_prefix).mean(1).tolist(), shown
