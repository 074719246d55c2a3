import json
from pathlib import Path

import pytest

from camoe.config import ConfigError
from camoe.config.data import DataConfig
from camoe.config.tokenizer import TokenizerConfig
from camoe.data.preparation import prepare
from camoe.data.tokenizer_training import train_tokenizer


@pytest.fixture
def data(jsonl: Path, tmp_path: Path) -> DataConfig:
    return DataConfig(source="local", path=str(jsonl), valid_fraction=0.2, cache_dir=str(tmp_path / "cache"))


def test_a_run_uses_the_file_in_place_of_its_own_text(data: DataConfig, jsonl: Path, tmp_path: Path) -> None:
    file = tmp_path / "own.json"
    trained = train_tokenizer(data, 300)
    trained.save(file)
    again = tmp_path / "again.json"
    train_tokenizer(
        DataConfig(source="local", path=data.path, valid_fraction=0.2, cache_dir=f"{tmp_path}/c"), 300
    ).save(again)
    assert again.read_bytes() == file.read_bytes()
    other = tmp_path / "other.jsonl"
    other.write_text("".join(jsonl.read_text().splitlines(keepends=True)[::2]))
    elsewhere = DataConfig(source="local", path=str(other), valid_fraction=0.2, cache_dir=data.cache_dir)
    corpus = prepare(elsewhere, TokenizerConfig(vocab_size=300, path=str(file)))
    assert corpus.tokenizer.fingerprint == trained.tokenizer.fingerprint
    assert prepare(elsewhere, TokenizerConfig(vocab_size=300)).tokenizer.fingerprint != corpus.tokenizer.fingerprint
    own = prepare(data, TokenizerConfig(vocab_size=300))  # what a run trains on the same text is the same
    assert own.tokenizer.fingerprint == trained.tokenizer.fingerprint
    valid = own.valid.statistics
    assert trained.statistics["bytes_per_token"] == pytest.approx(valid["bytes_per_token"])
    assert (trained.statistics["held_out_documents"], trained.statistics["held_out_bytes"]) == (
        valid["documents"],
        valid["bytes"],
    )


def test_more_ids_than_the_text_gives_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "few.jsonl"
    path.write_text("".join(json.dumps({"text": f"ab {n}"}) + "\n" for n in range(9)))
    data = DataConfig(source="local", path=str(path), valid_fraction=0.3, cache_dir=str(tmp_path / "cache"))
    with pytest.raises(ConfigError, match=r"tokenizer\.vocab_size: 900 is more than .* has merges for 2\d\d; give"):
        train_tokenizer(data, 900)


@pytest.mark.parametrize(
    ("content", "vocab_size", "message"),
    [
        (None, 300, "cannot be read (No such file or directory)"),
        ("not json", 300, "is no tokenizer of job=train_tokenizer"),
        ('{"vocab": {}}', 300, "is no tokenizer of job=train_tokenizer"),
        ("[1]", 300, "is no tokenizer of job=train_tokenizer"),
        ("trained", 400, "tokenizer.vocab_size: 400, but"),
    ],
)
def test_unfit_file_is_refused(
    data: DataConfig, tmp_path: Path, content: str | None, vocab_size: int, message: str
) -> None:
    file = tmp_path / "t.json"
    if content == "trained":
        train_tokenizer(data, 300).save(file)
    elif content is not None:
        file.write_text(content)
    with pytest.raises(ConfigError) as refusal:
        prepare(data, TokenizerConfig(vocab_size=vocab_size, path=str(file)))
    assert message in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_file_that_cannot_be_written_is_refused(data: DataConfig, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=r"job\.output: .* cannot be written"):
        train_tokenizer(data, 300).save(tmp_path / "file" / "t.json")


def test_sizes_that_bpe_cannot_have_are_refused() -> None:
    with pytest.raises(ConfigError, match="must be at least 257"):
        TokenizerConfig(vocab_size=256)
    with pytest.raises(ConfigError, match="has no effect with"):
        TokenizerConfig(kind="byte", vocab_size=256, path="t.json")
