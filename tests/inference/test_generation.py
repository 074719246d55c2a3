"""Sampling: what is drawn, how often, and that carried state means the same as reading everything again."""

import pytest
import torch

from camoe.inference.generation import generate, token_by_token
from camoe.inference.sampling import Sampling, _likeliest, next_token
from camoe.kernels import one_token
from camoe.model.language_model import LanguageModel
from tests.small_run import small_run

GREEDY = Sampling(temperature=0)
PROMPT = [7, 200, 31, 31, 5]


def _trained(dea: bool) -> LanguageModel:
    """A model whose weights are all alive, as after training; its own head keeps it from repeating the last token."""
    return _awake(LanguageModel(small_run(model={"deep_embed_attention": dea, "tie_embeddings": False})))


def _awake(model: LanguageModel) -> LanguageModel:
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    return model.eval()


@pytest.fixture(scope="module")
def model() -> LanguageModel:
    return _trained(dea=False)


@pytest.mark.parametrize("dea", [False, True])
@torch.no_grad()
def test_greedy_equals_reading_the_whole_context_again_for_every_token(dea: bool) -> None:
    model = _trained(dea)
    context = list(PROMPT)
    for _ in range(20):
        logits, _ = model(torch.tensor([context]))
        context.append(int(logits[0, -1].argmax()))
    generated = generate(model, PROMPT, 20, GREEDY)
    assert generated == context[len(PROMPT) :]
    assert len(set(generated)) > 3


@pytest.mark.skipif(not one_token._compiled(), reason="no C++ compiler")
@pytest.mark.parametrize(
    ("economy", "router", "top_k", "dea"),
    [
        *(("v21", "dual_path", 2, False), ("v18", "market_only", 2, False), ("off", "dual_path", 1, True)),
        *(("calibrated", "dual_path", 2, True), ("calibrated", "dual_path", 1, False), ("off", "dual_path", 4, True)),
    ],
)
def test_native_tokens_equal_a_pass_over_the_whole_text(economy: str, router: str, top_k: int, dea: bool) -> None:
    """Whatever elects: the fused operations of single tokens give the logits that torch gives a whole text."""
    config = small_run(
        economy, router={"kind": router, "top_k": top_k}, model={"deep_embed_attention": dea, "tie_embeddings": False}
    )
    model = _awake(LanguageModel(config))
    model.use_wkv_backend("native", 16)
    tokens, state, steps = torch.randint(1, 256, (1, 24), generator=torch.Generator().manual_seed(2)), None, []
    with token_by_token(model):
        for token in tokens.unbind(1):
            logits, state = model(token[:, None], state)
            steps.append(logits)
    with torch.no_grad():
        whole, after = model(tokens)
    torch.testing.assert_close(torch.cat(steps, 1), whole, rtol=0, atol=2e-6 * float(whole.abs().max()) + 2e-6)
    assert state is not None
    for carried, expected in zip(state.layers, after.layers, strict=True):
        torch.testing.assert_close(carried.wkv, expected.wkv, rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_sampling_equals_drawing_from_the_whole_context_again(model: LanguageModel) -> None:
    sampling, generator, context = Sampling(1.5, 0.8), torch.Generator().manual_seed(3), list(PROMPT)
    for _ in range(12):
        logits, _ = model(torch.tensor([context]))
        context.append(int(next_token(logits[:, -1], sampling, generator)))
    assert generate(model, PROMPT, 12, sampling, seed=3) == context[len(PROMPT) :]


def _frequencies(logits: torch.Tensor, sampling: Sampling, draws: int = 40_000) -> torch.Tensor:
    tokens = next_token(logits.expand(draws, -1), sampling, torch.Generator().manual_seed(0))
    return torch.bincount(tokens, minlength=logits.numel()) / draws


@pytest.mark.parametrize(
    ("top_p", "kept"),
    [(1e-6, [2]), (0.49, [2]), (0.51, [0, 2]), (0.74, [0, 2]), (0.76, [0, 2, 3]), (0.9, [0, 1, 2, 3]), (1.0, range(5))],
)
def test_top_p_keeps_exactly_the_smallest_set_with_that_mass(top_p: float, kept: list[int]) -> None:
    probability = torch.tensor([0.25, 0.1, 0.5, 0.125, 0.025])
    found = _frequencies(probability.log(), Sampling(temperature=1.0, top_p=top_p))
    expected = torch.zeros(5)
    expected[list(kept)] = probability[list(kept)]
    assert found.nonzero().flatten().tolist() == sorted(kept)
    torch.testing.assert_close(found, expected / expected.sum(), atol=0.015, rtol=0)


@pytest.mark.parametrize("spread", [0.0, 0.5, 8.0])
@pytest.mark.parametrize("n_words", [200, 300, 5000])
def test_the_few_likeliest_words_are_those_of_the_whole_order(n_words: int, spread: float) -> None:
    """Also where the first look does not hold the mass, and where the rows of a batch differ in that."""
    logits = torch.randn(2, n_words, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    probability = torch.softmax(logits * torch.tensor([[spread], [1.0]]), -1)
    values, words = _likeliest(probability, 0.9)
    whole, _ = probability.sort(-1, descending=True)
    assert torch.equal(values, whole[:, : values.shape[1]])
    assert torch.equal(values, probability.gather(-1, words))
    assert values.shape[1] == n_words or bool((values.sum(-1) >= 0.9).all())


def test_temperature_divides_the_logits() -> None:
    logits = torch.tensor([0.0, 1.0, 2.0])
    found = _frequencies(logits, Sampling(temperature=2.0, top_p=1.0))
    torch.testing.assert_close(found, torch.softmax(logits / 2, 0), atol=0.015, rtol=0)


@pytest.mark.parametrize("temperature", [0.0, 1e-45, 1e-38, 9e-5])
def test_a_temperature_near_zero_takes_the_most_likely_token(temperature: float) -> None:
    logits = torch.tensor([[1.0, 1.00001, -3.0], [90.0, 0.0, 90.00001]])
    tokens = next_token(logits, Sampling(temperature, 0.9), torch.Generator())
    assert tokens.tolist() == logits.argmax(-1).tolist()


@pytest.mark.parametrize("temperature", [1e-4, 1e-3])
def test_the_lowest_temperatures_that_are_sampled_are_sound(temperature: float) -> None:
    logits = torch.tensor([[1e4, -1e4, 9e3]])
    assert next_token(logits, Sampling(temperature, 1.0), torch.Generator()).tolist() == [0]


def test_generation_ends_before_the_stop_token(model: LanguageModel) -> None:
    free = generate(model, PROMPT, 20, GREEDY)
    stop = free[8]
    assert generate(model, PROMPT, 20, GREEDY, stop_at=stop) == free[: free.index(stop)]
    absent = next(token for token in range(256) if token not in free)
    assert generate(model, PROMPT, 20, GREEDY, stop_at=absent) == free


def test_the_seed_alone_decides_and_the_global_generator_is_left_alone(model: LanguageModel) -> None:
    sampling, before = Sampling(1.0, 1.0), torch.get_rng_state()
    first = generate(model, PROMPT, 12, sampling, seed=1)
    assert torch.equal(before, torch.get_rng_state())
    torch.rand(5)
    assert generate(model, PROMPT, 12, sampling, seed=1) == first
    assert generate(model, PROMPT, 12, sampling, seed=2) != first


def test_no_tokens_asked_for(model: LanguageModel) -> None:
    assert generate(model, PROMPT, 0, GREEDY) == []


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_token_by_token_leaves_torch_as_it_was(precision: str) -> None:
    model, before = _trained(dea=False), torch.backends.mkldnn.enabled
    model.precision = precision
    with token_by_token(model):
        assert not torch.is_grad_enabled()
        assert torch.backends.mkldnn.enabled == (before and precision == "bf16")
    assert torch.backends.mkldnn.enabled == before
    assert torch.is_grad_enabled()
