"""Log-probabilities of continuations, batched, shared and read in pieces, against one forward pass per token."""

from __future__ import annotations

import functools

import pytest
import torch

from camoe.inference.continuation_scores import ContinuationScore, ContinuationScorer, Tokens
from camoe.model.language_model import LanguageModel
from tests.small_run import small_run


def made_model(**groups: object) -> LanguageModel:
    model = LanguageModel(small_run(**groups))
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape, generator=generator))
    return model


@functools.cache
def the_model() -> LanguageModel:
    """The one of the default composition; nobody changes it."""
    return made_model()


@functools.cache
def plain_score(context: Tokens, continuation: Tokens) -> tuple[list[float], list[bool]]:
    """`score_by_token` under it."""
    return score_by_token(the_model(), context, continuation)


def made_pairs() -> list[tuple[Tokens, Tokens]]:
    """Contexts of many lengths: some alone, some with several continuations, two of them of one length."""
    generator = torch.Generator().manual_seed(2)

    def tokens(count: int) -> Tokens:
        return tuple(torch.randint(1, 256, (count,), generator=generator).tolist())

    shared = [(0, *tokens(length)) for length in (0, 1, 4, 4, 7, 19)]
    pairs = [(context, tokens(size)) for size in (1, 3, 6) for context in shared]
    pairs += [((0, *tokens(length)), tokens(size)) for length, size in ((0, 9), (2, 1), (12, 5), (5, 0), (3, 30))]
    return [*pairs, pairs[4]]


@torch.no_grad()
def score_by_token(model: LanguageModel, context: Tokens, continuation: Tokens) -> tuple[list[float], list[bool]]:
    """Every token predicted by a forward pass of its own over all that stands before it."""
    read, values, likeliest = list(context), [], []
    for token in continuation:
        logits = model(torch.tensor([read]))[0][0, -1].double()
        values.append(float(logits[token] - logits.logsumexp(0)))
        likeliest.append(int(logits.argmax()) == token)
        read.append(token)
    return values, likeliest


def assert_equal(score: ContinuationScore, values: list[float], likeliest: list[bool]) -> None:
    assert score.log_probabilities.tolist() == pytest.approx(values, rel=1e-4, abs=1e-5)
    assert score.likeliest.tolist() == likeliest
    assert score.total == pytest.approx(sum(values), rel=1e-4, abs=1e-5)


@pytest.mark.parametrize(("tokens_per_pass", "chunk_len"), [(1, 3), (40, 8), (1000, 100)])
def test_every_token_has_its_plain_log_probability(tokens_per_pass: int, chunk_len: int) -> None:
    model, pairs = the_model(), made_pairs()
    done: list[int] = []
    scores = ContinuationScorer(model, tokens_per_pass, chunk_len).score(pairs, done.append)
    for score, (context, continuation) in zip(scores, pairs, strict=True):
        assert_equal(score, *plain_score(context, continuation))
    assert sum(done) == len(pairs)


@pytest.mark.parametrize(
    "model", [{"layers": "top", "attention_ratio": 0.5}, {"deep_embed_attention": True}], ids=["attention", "dea"]
)
def test_states_that_grow_are_carried_as_well(model: dict[str, object]) -> None:
    experts = {"rwkv_ffn": 4, "transformer_prefix": 0} if "layers" in model else {}
    made, pairs = made_model(model=model, experts=experts), made_pairs()
    for score, pair in zip(ContinuationScorer(made, 40, 8).score(pairs), pairs, strict=True):
        assert_equal(score, *score_by_token(made, *pair))


def test_a_greedy_continuation_is_the_likeliest() -> None:
    model, context, continuation = the_model(), (0, 5, 6), []
    with torch.no_grad():
        for _ in range(5):
            continuation.append(int(model(torch.tensor([[*context, *continuation]]))[0][0, -1].argmax()))
    (score,) = ContinuationScorer(model, 100, 16).score([(context, tuple(continuation))])
    assert score.likeliest.all()


def test_states_are_those_behind_each_prefix() -> None:
    model, prefixes = the_model(), [tuple(range(1, 1 + size)) for size in (5, 2, 9, 5, 1)]
    seen = []
    with torch.no_grad():
        for numbers, state in ContinuationScorer(model, 100, 4).states(prefixes):
            for place, number in enumerate(numbers):
                _, expected = model(torch.tensor([prefixes[number]]))
                torch.testing.assert_close(state.layers[1].wkv[place], expected.layers[1].wkv[0], rtol=1e-4, atol=1e-5)
                assert int(state.tokens_read[place]) == len(prefixes[number])
                seen.append(number)
    assert sorted(seen) == list(range(len(prefixes)))
