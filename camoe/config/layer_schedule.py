"""Which layers mix tokens by causal attention instead of RWKV-7 time mixing."""

from __future__ import annotations

from collections.abc import Sequence

from camoe.config.refusal import ConfigError

LAYER_SCHEDULES = ("all_rwkv", "top", "interleave", "hybrid", "explicit")
# A share such as 1/3 cannot be written exactly; this much of a layer is forgiven.
WHOLE_TO_WITHIN = 0.01


def scheduled_layers(
    schedule: str, n_layer: int, ratio: float, period: int, explicit: Sequence[int] | None
) -> tuple[int, ...]:
    """The attention layers in rising order, 0-based; ratio is their share of n_layer and must give a whole count n.

    top: the last n. interleave: every period-th, p-1, 2p-1, ... hybrid: the first n // 2 of those and the last
    n - n // 2. explicit: those named. Source: CDRmix's layer schedules, here with the exact count or a ConfigError.
    """
    if schedule == "all_rwkv":
        return ()
    if schedule == "explicit":
        return _explicit(n_layer, explicit)
    count = _whole_count(n_layer, ratio)
    if schedule == "top":
        return tuple(range(n_layer - count, n_layer))
    spaced = range(period - 1, n_layer, period)
    if schedule == "interleave":
        if len(spaced) != count:
            raise ConfigError(
                f"model.attention_period: every {period} of {n_layer} layers makes {len(spaced)} attention layers, but "
                f"model.attention_ratio {ratio:g} asks for {count}; {_fitting_period(n_layer, count)}"
            )
        return tuple(spaced)
    return _hybrid(n_layer, count, period, spaced)


def _whole_count(n_layer: int, ratio: float) -> int:
    count = round(ratio * n_layer)
    if abs(ratio * n_layer - count) > WHOLE_TO_WITHIN or count < 1:
        nearest = max(1, count) / n_layer
        raise ConfigError(
            f"model.attention_ratio: {ratio:g} of model.n_layer {n_layer} is {ratio * n_layer:.4g} layers; must be a "
            f"whole number of at least 1; nearest is {nearest:.6g}"
        )
    return count


def _fitting_period(n_layer: int, count: int) -> str:
    period = n_layer // count
    fits = n_layer // period == count
    return f"period {period} fits" if fits else "no period gives that many; choose another ratio or layers=hybrid"


def _hybrid(n_layer: int, count: int, period: int, spaced: Sequence[int]) -> tuple[int, ...]:
    below, top = count // 2, range(n_layer - (count - count // 2), n_layer)
    if len(spaced) < below or (below and spaced[below - 1] >= top[0]):
        raise ConfigError(
            f"model.attention_period: of layers=hybrid the {below} spaced layers (every {period}) run into the top "
            f"{len(top)} of {n_layer}; at most {top[0] // below}"
        )
    return (*spaced[:below], *top)


def _explicit(n_layer: int, layers: Sequence[int] | None) -> tuple[int, ...]:
    if not layers:
        raise ConfigError(
            "model.attention_indices: layers=explicit needs 0-based numbers of layers, such as [3,7]; "
            "without any choose layers=all_rwkv"
        )
    for layer in layers:
        if not 0 <= layer < n_layer:
            raise ConfigError(f"model.attention_indices: no layer {layer}; must be 0 to {n_layer - 1} (model.n_layer)")
    if len(set(layers)) < len(layers):
        raise ConfigError(f"model.attention_indices: {list(layers)} names a layer twice; each at most once")
    return tuple(sorted(layers))
