"""What a market found out about itself, for the summary: what it is worth, and whether it is right."""

from __future__ import annotations

from collections.abc import Mapping

from rich.console import Group, RenderableType
from rich.text import Text

from camoe.tracking.named_values import named_values
from camoe.tracking.short_number import short_number

RIGHTNESS = {  # metric -> how the summary calls it
    "market/efficiency": "market efficiency",
    "market/spearman_credit": "capital ~ credit",
    "market/spearman_load": "capital ~ load",
    "market/agreement_kappa": "kappa with gate",
}
ANCHOR = "market/holdout_sequences"
"""In every record of a market that experiments on itself."""
NAMES = ("market/holdout_gain", "market/holdout_low", "market/holdout_high", ANCHOR, *RIGHTNESS)


def market_findings(record: Mapping[str, float]) -> dict[str, float]:
    """The metrics of a record that the page shows; empty without `ANCHOR`."""
    return {name: record[name] for name in NAMES if name in record} if ANCHOR in record else {}


def findings_page(findings: Mapping[str, float]) -> RenderableType:
    """The market's worth with its 95 % interval, then correlations as means over layers."""
    heading = Text("The market", style="bold").append(
        "  means over layers, ~: rank correlation", style="not bold grey58"
    )
    rightness = {label: f"{findings[name]:+.2f}" for name, label in RIGHTNESS.items() if name in findings}
    return Group(heading, _worth(findings), Text(), named_values(rightness))


def _worth(findings: Mapping[str, float]) -> Text:
    text, sequences = Text("  worth  ", style="grey58"), f"{short_number(findings[ANCHOR])} sequences held out"
    if "market/holdout_gain" not in findings:
        return text.append(f"not measured, {sequences}")
    gain, low, high = (findings[f"market/holdout_{name}"] for name in ("gain", "low", "high"))
    text.append(f"{gain:+.4f} nats/token", style="bold not grey58")
    return text.append(f" (95 %: {low:+.4f} to {high:+.4f}), {sequences}")
