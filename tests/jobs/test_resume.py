"""What a resumed run keeps beside its configuration."""

from __future__ import annotations

from pathlib import Path

import pytest

from camoe.config import ConfigError
from camoe.config.kernel import KernelConfig
from camoe.jobs.resume import kernel_as_begun
from camoe.tracking.run_folder import RunFolder


def _folder(root: Path, **facts: str) -> RunFolder:
    return RunFolder.create(str(root), "run", "0123456789", config={}, overrides=[], provenance=facts)


def test_auto_becomes_what_the_run_began_with(tmp_path: Path) -> None:
    kernel = KernelConfig(wkv="chunked", threads=1)
    kept = kernel_as_begun(kernel, _folder(tmp_path, matmul_precision="medium"))
    assert (kept.matmul_precision, kept.wkv, kept.threads) == ("medium", "chunked", 1)
    assert kernel.matmul_precision == "auto"


def test_a_folder_that_does_not_tell_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="has no 'matmul_precision'"):
        kernel_as_begun(KernelConfig(), _folder(tmp_path))
