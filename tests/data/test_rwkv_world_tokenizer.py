import importlib.util
import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from camoe.config import ConfigError
from camoe.data.rwkv_world_tokenizer import RwkvWorldTokenizer

VECTORS = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "tokenizer" / "conformance_vectors.json"


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("", []),
        ("hello", [34550]),
        ("The market clears.", [6699, 46517, 45488, 47]),
        ("Füße 你好 🙂", [71, 2522, 9229, 33, 10464, 11685, 32845]),
        ("\0a\n\n\tdef f():", [1, 98, 3327, 7334, 337, 5268]),
        ("<|endoftext|>", [61, 125, 25258, 7588, 2318, 125, 63]),
        ("襚", [233, 166, 155]),
    ],
)
def test_known_ids(world: RwkvWorldTokenizer, text: str, ids: list[int]) -> None:
    assert world.encode(text) == ids
    assert world.decode(ids) == text


@pytest.mark.skipif(not VECTORS.is_file(), reason="no shared conformance vectors beside this clone")
def test_conformance_vectors(world: RwkvWorldTokenizer) -> None:
    vectors = json.loads(VECTORS.read_text(encoding="utf-8"))
    assert len(vectors) >= 70
    for vector in vectors:
        assert world.encode(vector["text"]) == vector["ids"]
        assert world.decode(vector["ids"]) == vector["text"]


@pytest.fixture(scope="module")
def ids(world: RwkvWorldTokenizer) -> dict[bytes, int]:
    return {value: index for index, value in enumerate(world.token_bytes) if value}


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(text=st.text() | st.text(alphabet="aeinrst \n"))
def test_encoding_is_greedy_longest_match(world: RwkvWorldTokenizer, ids: dict[bytes, int], text: str) -> None:
    longest = max(map(len, ids))
    rest, expected = text.encode(), []
    while rest:
        size = next(n for n in range(min(longest, len(rest)), 0, -1) if rest[:n] in ids)
        expected.append(ids[rest[:size]])
        rest = rest[size:]
    assert world.encode(text) == expected


def test_table_is_the_whole_vocabulary(world: RwkvWorldTokenizer) -> None:
    table = world.token_bytes
    assert len(table) == 65536
    assert all(table[1:65530])
    assert not any(table[65530:])
    assert table[0] == b""
    assert len(set(table[1:65530])) == 65529


def test_missing_package_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("camoe.data.rwkv_world_tokenizer.PACKAGE", "no_such_package_here")
    assert importlib.util.find_spec("no_such_package_here") is None
    with pytest.raises(ConfigError, match="pip install pyrwkv-tokenizer") as refusal:
        RwkvWorldTokenizer()
    assert "\n" not in str(refusal.value)
