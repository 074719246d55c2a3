"""The expert mix of every mixture layer."""

from __future__ import annotations

from dataclasses import dataclass

from camoe.config.refusal import ConfigError
from camoe.config.setting import setting

# In the order in which a layer holds them: those that read the bridged prefix come last.
KINDS = ("rwkv_ffn", "swiglu", "gelu_ffn", "gated_channel_mix", "zero", "copy", "constant", "transformer_prefix")
WITH_HIDDEN = ("rwkv_ffn", "swiglu", "gelu_ffn", "gated_channel_mix")
# In tables and plots an expert is called by letter and number.
LETTERS = dict(zip(KINDS, "RSFGZCKT", strict=True))
NAMES = dict(
    zip(KINDS, ("RWKV", "SwiGLU", "GELU", "gated RWKV", "zero", "copy", "constant", "Transformer"), strict=True)
)
OF_RWKV_LAYERS, OF_ATTENTION_LAYERS = "gated_channel_mix", "gelu_ffn"

MOST = 4096  # experts of one kind in a layer


@dataclass(kw_only=True)
class ExpertsConfig:
    """How many experts of each kind a mixture layer has, and how they are built."""

    policy: str = setting(
        "pooled",
        help="by_mixer: gelu_ffn experts in attention layers only, gated_channel_mix in RWKV layers only",
        options=("pooled", "by_mixer"),
    )
    rwkv_ffn: int = setting(3, help="RWKV channel-mix experts (cheap)", low=0, high=MOST)
    swiglu: int = setting(0, help="SwiGLU experts, which share the width hidden_ratio * n_embd", low=0, high=MOST)
    gelu_ffn: int = setting(0, help="feed-forward experts with GELU", low=0, high=MOST)
    gated_channel_mix: int = setting(
        0, help="channel-mix experts with a receptance gate, no token shift", low=0, high=MOST
    )
    zero: int = setting(
        0, help="experts that give nothing and leave their weight to the other winners", low=0, high=MOST
    )
    copy: int = setting(0, help="experts that give back their input", low=0, high=MOST)
    constant: int = setting(0, help="experts that blend their input with a learned vector", low=0, high=MOST)
    transformer_prefix: int = setting(
        1, help="Transformer experts that attend to the bridged prefix (dear)", low=0, high=MOST
    )
    hidden_ratio: int = setting(4, help="hidden width of a feed-forward expert, in multiples of n_embd", low=1)
    hidden: int | None = setting(None, help="exact hidden width of every feed-forward expert, over hidden_ratio", low=1)
    equal_flops: bool = setting(
        False, help="experts as wide as makes training cost what this mix costs under a gate alone (critic, audits)"
    )
    token_shift: bool = setting(True, help="RWKV experts mix in the previous token (false: the published variant)")
    shared: int = setting(
        0, help="experts that serve every token with weight 1, beside the routed ones", low=0, high=MOST
    )
    shared_kind: str = setting("rwkv_ffn", help="kind of the shared experts", options=WITH_HIDDEN)

    def __post_init__(self) -> None:
        if self.total < 1:
            raise ConfigError("experts.rwkv_ffn: 0 with experts.transformer_prefix 0 leaves no expert; need at least 1")
        if self.policy == "by_mixer" and not self.gelu_ffn == self.gated_channel_mix > 0:
            raise ConfigError(
                f"experts.policy: by_mixer needs as many experts.gelu_ffn ({self.gelu_ffn}, in attention layers) as "
                f"experts.gated_channel_mix ({self.gated_channel_mix}, in RWKV layers), and at least 1"
            )

    def counts(self, *, attention: bool) -> dict[str, int]:
        """Routed experts by kind, in their order, of a layer with attention or of an RWKV layer."""
        absent = ""
        if self.policy == "by_mixer":
            absent = OF_RWKV_LAYERS if attention else OF_ATTENTION_LAYERS
        return {kind: getattr(self, kind) for kind in KINDS if kind != absent and getattr(self, kind)}

    @property
    def total(self) -> int:
        """E, the routed experts of one layer; every layer has as many."""
        return sum(self.counts(attention=False).values())

    @property
    def first_prefix(self) -> int:
        """Index of the first Transformer expert; E where there is none."""
        return self.total - self.transformer_prefix

    @property
    def cheap_learn(self) -> bool:
        """Whether any expert that reads no prefix, shared ones included, has parameters."""
        return bool(self.shared or any(getattr(self, kind) for kind in (*WITH_HIDDEN, "constant")))

    def has(self, kind: str) -> bool:
        """Whether any layer may have experts of the kind, shared ones included."""
        return bool(getattr(self, kind) or (self.shared and self.shared_kind == kind))

    def hidden_width(self, kind: str, n_embd: int) -> int:
        """Hidden width of one expert of a kind WITH_HIDDEN.

        SwiGLU experts share the width of one network between all E routed experts (Complexity MoE), exactly or
        ConfigError.
        """
        width = self.hidden_ratio * n_embd
        if self.hidden is not None:
            return self.hidden
        if kind != "swiglu":
            return width
        if width % self.total:
            raise ConfigError(
                f"experts.hidden_ratio: {self.hidden_ratio} * model.n_embd {n_embd} does not divide among {self.total} "
                f"experts (SwiGLU); give experts.hidden, such as {width // self.total}"
            )
        return width // self.total

    def check_equal_flops(self, n_embd: int) -> None:
        """ConfigError where equal_flops finds no one width to change."""
        widths = {kind: self.hidden_width(kind, n_embd) for kind in WITH_HIDDEN if self.has(kind)}
        if self.equal_flops and len(set(widths.values())) != 1:
            have = ", ".join(f"{kind} {width}" for kind, width in widths.items()) or "none"
            raise ConfigError(
                f"experts.equal_flops: true needs experts with a hidden layer, all of one width, but has {have}; "
                + ("give experts.hidden" if widths else "choose another mix (group experts)")
            )


def expert_labels(experts: ExpertsConfig) -> list[str]:
    """Names of a layer's experts by kind and number: R0, R1, ..., T0, ...

    Where attention layers have other experts than RWKV layers the name is that in RWKV layers.
    """
    counts = experts.counts(attention=False).items()
    return [f"{LETTERS[kind]}{number}" for kind, count in counts for number in range(count)]
