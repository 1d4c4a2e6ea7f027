"""Pictures that tests of embedding share."""

from pathlib import Path

import pytest
from builders import write_files
from embedding_runs import picture


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Twenty pictures, one of them in a folder, and two files that are none."""
    names = {f"{number:02d}.png": picture(number) for number in range(19)}
    broken = {"broken.jpg": b"\xff\xd8 not really", "empty.png": b"", "notes.txt": b"no image"}
    return write_files(tmp_path / "in", {**names, "deep/it's 100%.png": picture(19), **broken})
