"""Small configurations for tests, made from the schema's own defaults."""

from __future__ import annotations

from typing import Any

from omegaconf import OmegaConf

from camoe.config.run import RunConfig
from camoe.config.schema_store import ECONOMY_SCHEMAS, ROUTER_SCHEMAS

SMALL: dict[str, Any] = {
    "model": {"n_embd": 32, "n_layer": 2, "head_size": 16, "prefix_len": 3, "low_rank": 4},
    "tokenizer": {"kind": "byte", "vocab_size": 256},
    "phase": {"schedule": {"normal": {"steps": 4}}},
    "train": {"ctx_len": 16, "micro_batch": 2, "grad_accum": 2, "eval_sequences": 2},
    "tracking": {"mlflow": False, "report": False},
}


def small_run(kind: str = "v21", **groups: Any) -> RunConfig:
    """A checked RunConfig: SMALL, with `groups` merged over it, under the economy of this kind and their router's."""
    router = ROUTER_SCHEMAS[groups.get("router", {}).get("kind", "dual_path")]
    kinds = {"economy": OmegaConf.structured(ECONOMY_SCHEMAS[kind]), "router": OmegaConf.structured(router)}
    base = OmegaConf.merge(OmegaConf.structured(RunConfig), kinds)
    config = OmegaConf.to_object(OmegaConf.merge(base, SMALL, groups))
    assert isinstance(config, RunConfig)
    return config
