from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from camoe.data.bpe_tokenizer import BpeTokenizer
from camoe.data.byte_tokenizer import ByteTokenizer
from camoe.data.tokenizer import SEPARATOR, Tokenizer

ANY_TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
shared_fixture = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


@shared_fixture
@given(text=ANY_TEXT)
def test_round_trip_of_any_text(tokenizer: Tokenizer, text: str) -> None:
    ids = tokenizer.encode(text)
    assert tokenizer.decode(ids) == text
    assert SEPARATOR not in ids
    assert all(0 < i < tokenizer.vocab_size for i in ids)
    assert tokenizer.byte_lengths[ids].sum() == len(text.encode()) if ids else text == ""


@shared_fixture
@given(ids=st.lists(st.integers(-5, 1 << 40) | st.integers(0, 1 << 17)))
def test_decode_never_raises(tokenizer: Tokenizer, ids: list[int]) -> None:
    assert isinstance(tokenizer.decode(ids), str)


def test_ids_outside_the_vocabulary_are_visible(tokenizer: Tokenizer) -> None:
    assert tokenizer.decode([-1, tokenizer.vocab_size]) == "\ufffd\ufffd"


def test_separator_stands_for_no_bytes(tokenizer: Tokenizer) -> None:
    assert tokenizer.decode([SEPARATOR, SEPARATOR]) == ""
    assert tokenizer.byte_lengths[SEPARATOR] == 0


def test_batch_equals_single(tokenizer: Tokenizer, modules: list[str]) -> None:
    texts = ["", "a", *modules[:5]]
    assert tokenizer.encode_batch(texts) == [tokenizer.encode(text) for text in texts]


def test_broken_utf8_is_replaced(tokenizer: Tokenizer) -> None:
    first_byte = tokenizer.token_bytes.index("é".encode()[:1])
    assert tokenizer.decode([first_byte]) == "\ufffd"


def test_fingerprint_tells_tokenizers_apart(bpe: BpeTokenizer, world: Tokenizer, modules: list[str]) -> None:
    tokenizers = [ByteTokenizer(), bpe, world, BpeTokenizer.train(modules[:5], 512), BpeTokenizer.train(modules, 500)]
    assert len({tokenizer.fingerprint for tokenizer in tokenizers}) == 5
    assert all(len(bytes.fromhex(tokenizer.fingerprint)) == 32 for tokenizer in tokenizers)
