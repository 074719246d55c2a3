"""Composing in-process, as run.py does, without a command line."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from itertools import combinations, product

from hydra import compose, initialize_config_dir
from omegaconf import DictConfig

from camoe.config import RunConfig
from camoe.config.option_catalog import CONF, groups, options
from camoe.config.resolve import resolve
from camoe.config.router import BIDDING_ROUTERS
from camoe.config.schema_store import register_with_hydra


@contextmanager
def hydra_ready() -> Iterator[None]:
    """Hydra initialised once for many compositions."""
    register_with_hydra()
    with initialize_config_dir(config_dir=str(CONF), version_base="1.3"):
        yield


def composition(*overrides: str) -> DictConfig:
    """Hydra's composition of `overrides`; needs `hydra_ready`."""
    return compose(config_name="config", overrides=list(overrides))


def run_config(*overrides: str) -> RunConfig:
    """The checked configuration of `overrides`; needs `hydra_ready`."""
    return resolve(composition(*overrides))


VARIANTS = ("cdrmix_4b", "cdrmix_40b", "cdrmix_200b", "golf_small", "bpe1k")
"""Options that are another one with other numbers; their own tests compose them."""
WITH_ATTENTION = ("cdrmix_1b", "golf")
WITH_PREFIX = ("0r4t", "2r2t", "3r1t", "6r2t", "shared")
SAID_AS = {
    "router=cdrmix": "topk",
    "router=golf": "modulo_prior",
    "tokenizer=bpe50k": "bpe",
    **{f"model={model}": "model.layers" for model in WITH_ATTENTION},
    **{f"experts={experts}": "transformer_prefix" for experts in WITH_PREFIX},
}
"""What refusals and the composed values call an option, where it is not the option's own name."""
REFUSED_PAIRS = {
    *(frozenset({f"model={model}", f"experts={mix}"}) for model, mix in product(WITH_ATTENTION, WITH_PREFIX)),
    *(frozenset({"job=train_tokenizer", f"tokenizer={kind}"}) for kind in ("byte", "rwkv_world")),
    *(frozenset({"router=market_only", f"economy={economy}"}) for economy in ("off", "calibrated")),
    *(
        frozenset({f"router={router}", f"economy={economy}"})
        for router, economy in product(options("router"), options("economy"))
        if router not in BIDDING_ROUTERS and economy != "off"
    ),
}
NEEDED = {
    "data=local": ["data.path=text.txt"],
    "job=checkpoint": ["job.run=r"],
    "job=evaluate": ["job.run=r"],
    "job=export": ["job.run=r"],
    "job=export_rwkv": ["job.run=r"],
    "job=generate": ["job.run=r"],
    "job=replay_batch": ["job.run=r"],
    "job=status": ["sweep=s"],
    "job=train_tokenizer": ["job.output=t.json"],
    "model=cdrmix_1b": ["model.n_layer=4"],  # not refused, but large
}


def covered_options(group: str) -> list[str]:
    """The options of a group that are composed with all others."""
    return [option for option in options(group) if option not in VARIANTS]


def said(choice: str) -> str:
    """The word for a choice `group=option` in refusals and in the composed values."""
    return SAID_AS.get(choice, choice.partition("=")[2])


def covering_rows() -> list[list[str]]:
    """Few compositions, one option of every group each, in which every allowed pair of options occurs."""
    choices = {group: [f"{group}={option}" for option in covered_options(group)] for group in groups()}
    missing = [{one, other} for g, h in combinations(choices, 2) for one, other in product(choices[g], choices[h])]
    missing = [pair for pair in missing if frozenset(pair) not in REFUSED_PAIRS]
    rows = []
    while missing:
        row: dict[str, str] = {choice.partition("=")[0]: choice for choice in sorted(missing[0])}
        for group in choices:
            if group not in row:
                row[group] = max(choices[group], key=partial(_gain, set(row.values()), missing))
        chosen = set(row.values())
        missing = [pair for pair in missing if not pair <= chosen]
        rows.append(sorted(chosen))
    return rows


def needed_by(row: list[str]) -> list[str]:
    """Values that some options are refused without, or are too large without to be built often."""
    return [override for choice in row for override in NEEDED.get(choice, [])]


def _gain(chosen: set[str], missing: list[set[str]], candidate: str) -> int:
    if any(frozenset({candidate, other}) in REFUSED_PAIRS for other in chosen):
        return -1
    return sum(candidate in pair and pair <= chosen | {candidate} for pair in missing)
