from itertools import pairwise

import numpy as np
import pytest

from camoe.data.python_parts import CODE, COMMENT, DOCSTRING, byte_parts

SOURCE = '''#!/usr/bin/env python
"""Über alles.

Second line."""

import os  # é: why

class A:
    # before
    r"""raw"""
    x = "no docstring"
    "an attribute's"

    def f(self, s="#"):
        """Doc."""  # behind
        f("argument",
          "second")
        return """#"""
'''


def texts(source: str, part: int) -> list[str]:
    """Runs of bytes of one part."""
    parts, content = byte_parts(source), source.encode()
    bounds = np.flatnonzero(np.diff(parts, prepend=-1, append=-1))
    runs = pairwise(bounds)
    return [content[begin:end].decode() for begin, end in runs if parts[begin] == part]


def test_parts_of_a_module() -> None:
    assert texts(SOURCE, COMMENT) == ["#!/usr/bin/env python", "# é: why", "# before", "# behind"]
    assert texts(SOURCE, DOCSTRING) == [
        '"""Über alles.\n\nSecond line."""',
        'r"""raw"""',
        '"an attribute\'s"',
        '"""Doc."""',
    ]
    assert "".join(texts(SOURCE, CODE)).count('"""#"""') == 1
    assert len(byte_parts(SOURCE)) == len(SOURCE.encode())


@pytest.mark.parametrize("cut", range(0, len(SOURCE), 7))
def test_a_cut_module_has_a_part_for_every_byte(cut: int) -> None:
    assert len(byte_parts(SOURCE[:cut])) == len(SOURCE[:cut].encode())


def test_what_is_no_python_is_code() -> None:
    assert set(byte_parts("if:\n  ?\n 'x\n\tb")) == {CODE}


def test_real_modules_have_all_three(modules: list[str]) -> None:
    parts = np.concatenate([byte_parts(text) for text in modules[:10]])
    assert set(parts.tolist()) == {CODE, COMMENT, DOCSTRING}
    assert (parts == CODE).mean() > 0.4
