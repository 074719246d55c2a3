"""How job=export writes the weights of each class."""

from __future__ import annotations

from dataclasses import dataclass

from camoe.config.setting import setting

INTEGERS = {"int8": 8, "int6": 6, "int5": 5, "int4": 4}
FLOATS = {"fp16": "float16", "fp32": "float32"}
FORMATS = (*INTEGERS, *FLOATS)


@dataclass(kw_only=True)
class ExportFormat:
    """intB: B bits a weight and one scale a row of the matrix."""

    embedding_head: str = setting("int8", help="embedding, head, DeepEmbed tables", options=FORMATS)
    backbone: str = setting("int6", help="matrices of everything that no expert or router owns", options=FORMATS)
    experts: str = setting("int6", help="matrices of the experts, each a tensor of its own", options=FORMATS)
    router: str = setting("int8", help="matrices of routers and critics", options=FORMATS)
    vectors: str = setting("fp16", help="whatever of them is no matrix: norms, biases, mixes", options=tuple(FLOATS))

    @classmethod
    def alike(cls, numbers: str) -> ExportFormat:
        """All matrices in one format; vectors in it too if it is one of floats, so that fp32 loses nothing."""
        vectors = {"vectors": numbers} if numbers in FLOATS else {}
        return cls(embedding_head=numbers, backbone=numbers, experts=numbers, router=numbers, **vectors)
