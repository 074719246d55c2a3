"""What the harness asks for: exact bytes of every pair, rolling scores that are our bits per byte, greedy answers."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from lm_eval.api.instance import Instance

from camoe.config import ConfigError
from camoe.config.data import DataConfig
from camoe.config.evaluation import EvaluationConfig
from camoe.config.tokenizer import TokenizerConfig
from camoe.data.byte_tokenizer import ByteTokenizer
from camoe.data.evaluation_windows import evaluation_windows
from camoe.data.preparation import prepare
from camoe.data.rwkv_world_tokenizer import RwkvWorldTokenizer
from camoe.inference.continuation_scores import ContinuationScorer
from camoe.inference.evaluation import evaluate
from camoe.inference.lm_eval_adapter import CamoeLM
from camoe.tracking.routing_statistics import routing_statistics_of
from tests.inference.test_continuation_scores import the_model

PAIRS = [
    ("The cat", " sat"),
    ("A list:\n\n", "\nfirst"),
    ("", " word"),
    ("un", "believable"),
    ("é ", "è  x "),
    ("a", ""),
]


def asked(kind: str, *arguments: tuple[object, ...]) -> list[Instance]:
    return [Instance(kind, {}, one, 0) for one in arguments]


@pytest.mark.parametrize("tokenizer", [ByteTokenizer(), RwkvWorldTokenizer()], ids=["byte", "rwkv_world"])
@pytest.mark.parametrize(("context", "continuation"), PAIRS)
def test_a_pair_keeps_its_bytes(tokenizer: ByteTokenizer, context: str, continuation: str) -> None:
    adapter = CamoeLM(ContinuationScorer(the_model(), 64, 16), tokenizer)
    read, scored = adapter.encode_pair(context, continuation)
    assert read[0] == 0
    assert tokenizer.decode_bytes(read + scored) == (context + continuation).encode()
    assert tokenizer.decode_bytes(read) == context.rstrip().encode()


def test_rolling_scores_are_our_bits_per_byte_of_the_same_documents(tmp_path: Path) -> None:
    texts = ["one short text", "another, é, that is longer than a window of the model", "x"]
    for split, lines in (("train", ["for training"]), ("valid", texts)):
        records = [json.dumps({"text": line}) + "\n" for line in lines]
        (tmp_path / f"{split}.jsonl").write_text("".join(records))
    data = DataConfig(source="local", path=str(tmp_path), cache_dir=str(tmp_path / "cache"))
    corpus, model = prepare(data, TokenizerConfig(kind="byte", vocab_size=256)), the_model()
    config = EvaluationConfig(mode="stateful", by_document=True)
    result = evaluate(model, evaluation_windows(corpus, 16, config), 2, routing_statistics_of(model))
    targets = result.windows.tokens[result.windows.target_places]
    ours = result.token_nats[targets != 0].sum(dtype=np.float64)  # the harness asks for no closing separator
    size = sum(len(text.encode()) for text in texts)
    adapter = CamoeLM(ContinuationScorer(model, 40, 16), corpus.tokenizer)
    found = adapter.loglikelihood_rolling(asked("loglikelihood_rolling", *((text,) for text in texts)))
    assert result.text_bytes == size
    assert -sum(found) / math.log(2) / size == pytest.approx(ours / math.log(2) / size, rel=1e-6)


def test_answers_are_greedy_and_end_at_their_stops() -> None:
    model, tokenizer = the_model(), ByteTokenizer()
    prompts, done = ["ab", "cd", "", "a longer one"], []
    adapter = CamoeLM(ContinuationScorer(model, 64, 4), tokenizer, lambda _, more, __: done.append(more))
    settings = {"until": [], "max_gen_toks": 6}
    found = adapter.generate_until(asked("generate_until", *((prompt, settings) for prompt in prompts)))
    assert sum(done) == len(prompts)
    for prompt, answer in zip(prompts, found, strict=True):
        tokens = [0, *tokenizer.encode(prompt)]
        with torch.no_grad():
            for _ in range(6):
                token = int(model(torch.tensor([tokens]))[0][0, -1].argmax())
                if token == 0:
                    break
                tokens.append(token)
        assert answer == tokenizer.decode(tokens[1 + len(tokenizer.encode(prompt)) :])
    stop = max(found, key=len)[1:3]
    for answer, whole in zip(
        adapter.generate_until(asked("generate_until", *((p, {**settings, "until": stop}) for p in prompts))),
        found,
        strict=True,
    ):
        assert answer == whole.partition(stop)[0]


def test_sampled_answers_are_refused() -> None:
    adapter = CamoeLM(ContinuationScorer(the_model(), 64, 4), ByteTokenizer())
    with pytest.raises(ConfigError, match="answers are greedy"):
        adapter.generate_until(asked("generate_until", ("a", {"do_sample": True})))
