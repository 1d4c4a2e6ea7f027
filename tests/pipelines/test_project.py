"""What tests copy of this checkout: what git tracks, and nothing that a user keeps beside it."""

import subprocess
from pathlib import Path

from builders import write_files
from project import copy_tracked


def test_only_tracked_files_are_copied_as_they_lie_there(tmp_path: Path) -> None:
    checkout = write_files(
        tmp_path / "checkout",
        {"params.yaml": "old", "code/stage.py": "old", "gone.py": "", ".dvc/.gitignore": "/cache"},
    )
    for arguments in (["init", "-q"], ["add", "-A"]):
        subprocess.run(["git", "-C", checkout, *arguments], check=True)
    beside = {".dvc/cache/files/md5/ab/cd": "", "my_data/1.jpg": "", "notes.txt": ""}
    write_files(checkout, {**beside, "params.yaml": "edited"})
    (checkout / "gone.py").unlink()

    copy = tmp_path / "copy"
    copy_tracked(checkout, copy)
    content = {
        str(path.relative_to(copy)): path.read_text() for path in copy.rglob("*") if path.is_file()
    }
    assert content == {"params.yaml": "edited", "code/stage.py": "old", ".dvc/.gitignore": "/cache"}
