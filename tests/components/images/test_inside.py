"""Files by the paths that data names: those of the folder, and no others."""

from pathlib import Path

import pytest
from builders import png, write_files

from components.images.decode import UnreadableImageError, file_inside


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_files(tmp_path, {"secret.png": png(0), "root/a.png": png(1), "root/folder/b.png": png(2)})
    (tmp_path / "root/inner.png").symlink_to("folder/b.png")
    (tmp_path / "root/outer.png").symlink_to("../secret.png")
    (tmp_path / "beside").symlink_to("root")
    (tmp_path / "root-2").mkdir()
    (tmp_path / "root-2/c.png").write_bytes(png(3))
    return tmp_path / "root"


def test_files_of_the_folder(root: Path) -> None:
    assert file_inside(root, "a.png") == root / "a.png"
    assert file_inside(root, "folder/../folder/b.png") == root / "folder/b.png"
    assert file_inside(root, "inner.png") == root / "folder/b.png"
    assert file_inside(root.with_name("beside"), "a.png") == root / "a.png"


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("../secret.png", "outside_root"),
        ("folder/../../secret.png", "outside_root"),
        ("../root-2/c.png", "outside_root"),  # begins with the folder's name
        ("outer.png", "outside_root"),
        ("/etc/hostname", "outside_root"),
        ("c.png", "missing"),
        ("a\0.png", "missing"),
        (5000 * "a", "missing"),
        ("folder", "not_a_file"),
        (".", "not_a_file"),
    ],
)
def test_all_else_is_refused(root: Path, path: str, reason: str) -> None:
    with pytest.raises(UnreadableImageError) as refused:
        file_inside(root, path)
    assert refused.value.reason == reason
