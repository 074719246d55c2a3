import pytest

from camoe.config import ConfigError
from camoe.data.byte_tokenizer import ByteTokenizer


def test_id_is_the_byte() -> None:
    assert ByteTokenizer().encode("aé") == [0x61, 0xC3, 0xA9]


def test_nul_is_refused() -> None:
    with pytest.raises(ConfigError, match="NUL"):
        ByteTokenizer().encode("a\0b")
