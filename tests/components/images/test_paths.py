"""Files by the paths that data names: those of the folder, and no others; regions of files."""

from pathlib import Path

import pytest
from builders import png, write_files
from hypothesis import given
from hypothesis import strategies as st

from components.images.decode import UnreadableImageError
from components.images.paths import (
    file_inside,
    fragment_of,
    read_bytes,
    region_of,
    speller,
    without_fragment,
)


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


REGION = "#xywh=146,307,693,993"
BOX = (146.0, 307.0, 839.0, 1300.0)


def test_a_region_is_left_top_width_and_height():
    assert without_fragment(f"photos/1.jpg{REGION}") == ("photos/1.jpg", BOX)
    assert without_fragment("a#b.jpg#xywh=pixel:1,2,3,4") == ("a#b.jpg", (1, 2, 4, 6))
    for path in ("a.jpg", "a.jpg#t=1,2", "a.jpg#xywh=1,2,3", "a.jpg#xywh=1,2,0,4"):
        assert without_fragment(path) == (path, None)
    assert fragment_of(BOX) == REGION
    assert not fragment_of(None)


edges = st.floats(0, 10_000, width=32)


@given(left=edges, top=edges, right=edges, bottom=edges)
def test_a_box_is_read_as_it_was_written(left, top, right, bottom):
    """Boxes of the catalog are float32, and their differences exact in float64."""
    box = (left, top, left + right + 1, top + bottom + 1)
    path, found = without_fragment(f"a.jpg{fragment_of(box)}")
    assert path == "a.jpg"
    assert found == pytest.approx(box, rel=1e-12)


def test_a_region_has_the_bytes_of_its_file(root: Path) -> None:
    assert file_inside(root, f"folder/b.png{REGION}") == root / "folder/b.png"
    assert read_bytes(root / f"a.png{REGION}") == png(1)
    assert region_of(root / f"a.png{REGION}") == (root / "a.png", BOX)
    with pytest.raises(UnreadableImageError, match="outside_root"):
        file_inside(root, f"outer.png{REGION}")
    with pytest.raises(UnreadableImageError, match="missing"):
        read_bytes(root / f"c.png{REGION}")


def test_a_file_of_such_a_name_is_an_image_of_its_own(root: Path) -> None:
    name = f"a.png{REGION}"
    (root / name).write_bytes(png(5))
    assert file_inside(root, name) == root / name
    assert read_bytes(root / name) == png(5)
    assert region_of(root / name) == (root / name, None)
    assert region_of(root / f"{name}{REGION}") == (root / name, BOX)


def test_a_region_is_spelled_as_its_file(tmp_path: Path) -> None:
    composed, decomposed = "caf\u00e9.png", "cafe\u0301.png"
    (tmp_path / decomposed).write_bytes(png(1))
    spelled = speller(tmp_path)
    assert spelled(f"./{composed}{REGION}") == f"{decomposed}{REGION}"
