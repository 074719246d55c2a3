"""Texts that go on: in a batch, turn by turn, from a file; their penalty, their end, and who made each token."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from camoe.config import ConfigError
from camoe.inference.continuation import Continuation, Ending, TextState
from camoe.inference.generation import continue_texts, generate
from camoe.inference.prompts import read_prompts
from camoe.inference.sampling import Sampling, TokensSoFar, next_token, penalised
from camoe.inference.saved_text import FORMAT, _architecture, load_text, save_text
from camoe.model.language_model import LanguageModel
from camoe.model.routing_trace import RoutingTrace
from camoe.model.weights_hash import weights_hash
from tests.small_run import small_run

GREEDY, LIVELY = Sampling(temperature=0), Sampling(1.5, 0.9, top_k=40, repetition_penalty=1.3)
PROMPTS = [[0, 7, 200, 31], [0, 31], [0, 5, 5, 9, 120, 3, 17], [0, 90, 91, 92]]
SHAPES = {
    "plain": {},
    "deep_embed": {"deep_embed_attention": True},
    "attention": {"layers": "explicit", "attention_indices": [1]},
}


def _model(shape: str = "plain") -> LanguageModel:
    groups = {"experts": {"rwkv_ffn": 4, "transformer_prefix": 0}} if shape == "attention" else {}
    model = LanguageModel(small_run(model={**SHAPES[shape], "tie_embeddings": False}, **groups))
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    return model.eval()


@pytest.fixture(scope="module")
def model() -> LanguageModel:
    return _model()


def _continue(
    model: LanguageModel, text: TextState, prompt: list[int], sampling: Sampling, n_tokens: int, seed: int = 0
) -> Continuation:
    text.add(prompt)
    one = Continuation(text, sampling, torch.Generator().manual_seed(seed), Ending(0), n_tokens)
    continue_texts(model, [one], traced=True)
    return one


@pytest.mark.parametrize("sampling", [GREEDY, LIVELY])
@pytest.mark.parametrize("shape", SHAPES)
def test_a_batch_of_different_lengths_continues_each_text_as_alone(shape: str, sampling: Sampling) -> None:
    model, texts, lengths = _model(shape), [TextState() for _ in PROMPTS], (12, 5, 9, 12)
    together = []
    for seed, (text, prompt, n_tokens) in enumerate(zip(texts, PROMPTS, lengths, strict=True)):
        text.add(prompt)
        together.append(Continuation(text, sampling, torch.Generator().manual_seed(seed), Ending(0), n_tokens))
    continue_texts(model, together, traced=True)
    for seed, (one, prompt, n_tokens) in enumerate(zip(together, PROMPTS, lengths, strict=True)):
        alone = _continue(model, TextState(), prompt, sampling, n_tokens, seed)
        assert one.out == alone.out
        assert torch.equal(one.routes().experts, alone.routes().experts)
        assert one.text.unread == 1
        again = _continue(model, one.text, [3], GREEDY, 4)
        assert again.out == generate(model, [*prompt, *alone.out, 3], 4, GREEDY, stop_at=0)


@pytest.mark.parametrize("shape", SHAPES)
def test_a_saved_text_goes_on_as_one_read_from_its_beginning(shape: str, tmp_path: Path) -> None:
    model, text = _model(shape), TextState()
    first = _continue(model, text, PROMPTS[0], GREEDY, 8)
    save_text(tmp_path / "new" / "text", text, model)
    loaded = load_text(tmp_path / "new" / "text", model, "job.load_state")
    assert loaded.tokens == [*PROMPTS[0], *first.out]
    again = _continue(model, loaded, [7, 7], LIVELY, 10, seed=4)
    whole = _continue(model, TextState(), [*PROMPTS[0], *first.out, 7, 7], LIVELY, 10, seed=4)
    assert again.out == whole.out


def test_a_state_of_another_model_is_refused_in_one_line(model: LanguageModel, tmp_path: Path) -> None:
    text = TextState()
    _continue(model, text, PROMPTS[0], GREEDY, 2)
    save_text(tmp_path / "text", text, model)
    (tmp_path / "other").write_text("no state")
    about = {"format": FORMAT, "architecture": _architecture(model), "weights": json.dumps(weights_hash(model))}
    tokens = torch.tensor([0, 1])
    for file, changed, ids in (
        ("nameless", {"architecture": None}, tokens),
        ("unread", {"unread": "3"}, tokens),
        ("outside", {}, torch.tensor([0, 100_000])),
        ("fractions", {}, tokens / 3),
    ):
        kept = {name: value for name, value in {**about, "unread": "0", **changed}.items() if value is not None}
        save_file({"tokens": ids}, tmp_path / file, kept)
    weights = LanguageModel(small_run(model={"tie_embeddings": False}))
    for file, asked, why in (
        ("text", _model("deep_embed"), "another architecture"),
        ("text", weights, "other weights"),
        ("other", model, "no file of job.save_state"),
        ("nameless", model, "no file of job.save_state"),
        ("unread", model, "its tokens do not fit"),
        ("outside", model, "tokens outside of the vocabulary"),
        ("fractions", model, "its tokens do not fit"),
        ("absent", model, "no file"),
    ):
        with pytest.raises(ConfigError, match=f"^job.load_state: .*{why}") as refused:
            load_text(tmp_path / file, asked, "job.load_state")
        assert "\n" not in str(refused.value)


def test_routes_are_those_of_a_pass_over_the_whole_text(model: LanguageModel) -> None:
    """Token n belongs to the decision at place n-1, which predicted it."""
    one = _continue(model, TextState(), PROMPTS[2], GREEDY, 6)
    trace = RoutingTrace()
    with torch.no_grad():
        model(torch.tensor([[*PROMPTS[2], *one.out]]), trace=trace)
    found, decision = one.routes(), trace.decision()
    assert torch.equal(found.experts, decision.experts[:, 0, :-1])
    torch.testing.assert_close(found.weights, decision.weights[:, 0, :-1])
    torch.testing.assert_close(found.price, decision.price[:, 0, :-1])
    hard = torch.stack([layer.opinion.difficulty[0, :-1] for layer in trace.layers if layer.opinion is not None])
    assert found.difficulty is not None
    torch.testing.assert_close(found.difficulty, hard)
    expert = (found.experts == 3).float().mean(-1)
    torch.testing.assert_close(found.transformer_use(3), expert)
    assert float(found.load(4).sum()) == pytest.approx(1)


def test_the_penalty_divides_what_was_said_and_nothing_else() -> None:
    logits, count = torch.tensor([2.0, -2.0, 3.0, -3.0]), torch.tensor([1, 2, 0, 0])
    assert penalised(logits, count, 2.0).tolist() == [1.0, -4.0, 3.0, -3.0]


@pytest.mark.parametrize("window", [0, 3])
def test_tokens_so_far_are_those_of_the_window(window: int) -> None:
    text = [4, 4, 1, 2, 4, 3, 3, 0]
    so_far = TokensSoFar(text[:5], window, 6, torch.device("cpu"))
    for end in range(5, len(text) + 1):
        assert so_far.count.tolist() == torch.bincount(torch.tensor(text[:end][-window:]), minlength=6).tolist()
        if end < len(text):
            so_far.add(text[end])


def test_a_strong_penalty_never_repeats(model: LanguageModel) -> None:
    out = generate(model, PROMPTS[0], 40, Sampling(0, repetition_penalty=1e6))
    assert len({*out, *PROMPTS[0][1:]}) == 43


@pytest.mark.parametrize(("top_p", "kept"), [(1.0, {1, 2, 4}), (0.5, {2, 4})])
def test_top_k_keeps_the_likeliest_and_top_p_counts_their_mass(top_p: float, kept: set[int]) -> None:
    logits = torch.tensor([0.1, 0.15, 0.3, 0.05, 0.4]).log().expand(4000, -1)
    drawn = next_token(logits, Sampling(1.0, top_p, top_k=3), torch.Generator().manual_seed(0))
    assert set(drawn.tolist()) == kept


def test_prompts_of_a_file(tmp_path: Path) -> None:
    lines, records = tmp_path / "p.txt", tmp_path / "p.jsonl"
    lines.write_text("one\n\n two \n")
    records.write_text('{"prompt": "a\\nb"}\n{"prompt": ""}\n')
    assert read_prompts(lines, "job.prompts_file") == ["one", " two "]
    assert read_prompts(records, "job.prompts_file") == ["a\nb", ""]
    for content in ('{"text": 1}', "[]", "{", ""):
        records.write_text(content)
        with pytest.raises(ConfigError, match=r"^job.prompts_file: .*p.jsonl"):
            read_prompts(records, "job.prompts_file")
