"""Folders and manifests of images to embed, on disk and behind fsspec."""

from pathlib import Path

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from builders import png, write_files

from components import tables
from components.embedding.file_source import list_files
from components.embedding.source import Source
from components.errors import HemlineError
from components.images.decode import UnreadableImageError, decode

NONE = tables.EMBEDDED_ITEMS.empty_table()


def read(source: Source) -> list:
    images = source.items["image"].to_numpy()
    addresses = source.addresses.to_pylist()
    return list(source.reader.read(images, addresses, image_size_px=32, crop="centre"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    names = {"b.PNG": png(1), "a/[1] *?.jpeg": png(2), "a::b.png": png(3), ".hidden/c.png": png(4)}
    return write_files(tmp_path / "in", {**names, "labels.txt": "no image", "z.gif": b"damaged"})


def test_a_folders_images_by_path(folder: Path) -> None:
    source = list_files(str(folder), numbered=NONE)
    assert source.items["path"].to_pylist() == ["a/[1] *?.jpeg", "a::b.png", "b.PNG", "z.gif"]
    assert source.items["image"].to_pylist() == [0, 1, 2, 3]
    assert source.root == str(folder)
    assert source.passed_over == {"hidden files": 1, "files with the suffix .txt": 1}
    *pixels, damaged = read(source)
    for found, seed in zip(pixels, (2, 3, 1), strict=True):
        np.testing.assert_array_equal(found, decode(png(seed), image_size_px=32))
    assert isinstance(damaged, UnreadableImageError)
    assert damaged.reason == "not_an_image"


def test_every_suffix_of_a_format_that_is_read(tmp_path: Path) -> None:
    names = ["a.jfif", "b.JPE", "c.jpg", "d.jpeg", "e.webp", "f.tif", "g.apng"]
    names += ["g.avif", "g.heic", "g.jp2"]
    write_files(tmp_path, {name: png(seed) for seed, name in enumerate([*names, "h.pdf", "i"])})
    source = list_files(str(tmp_path), numbered=NONE)
    assert source.items["path"].to_pylist() == names
    assert source.passed_over == {"files with the suffix .pdf": 1, "files without suffix": 1}


def test_links_to_folders_are_followed_once(tmp_path: Path) -> None:
    root = write_files(tmp_path / "in", {"a/b.png": png(0), "c.txt": ""})
    out = write_files(tmp_path / "out", {"d.png": png(1), "deep/e.png": png(2)})
    (root / "x").symlink_to(out)
    (root / "y").symlink_to(out / "deep")
    (root / "z").symlink_to("a")
    (root / ".w").symlink_to(tmp_path)
    (out / "up").symlink_to(root)
    (out / "top").symlink_to("/")
    (root / "file.png").symlink_to(out / "d.png")
    source = list_files(str(root), numbered=NONE)
    assert source.items["path"].to_pylist() == ["a/b.png", "file.png", "x/d.png", "x/deep/e.png"]
    assert source.passed_over == {
        "hidden files": 1,
        "files with the suffix .txt": 1,
        "links to folders that are read anyway or hold this one": 4,
    }
    for found, seed in zip(read(source), (0, 1, 1, 2), strict=True):
        np.testing.assert_array_equal(found, decode(png(seed), image_size_px=32))


def test_a_name_that_is_not_utf_8_costs_its_image_only(tmp_path: Path) -> None:
    write_files(tmp_path, {"a.png": png(0), "x\udce4.png": png(1), "x/xe4.png": png(2)})
    source = list_files(str(tmp_path), numbered=NONE)
    assert source.items["path"].to_pylist() == ["a.png", "x/xe4.png", "x\\xe4.png"]
    *_, unread = read(source)
    assert (unread.reason, unread.detail) == ("bad_name", "the name is not UTF-8; rename the file")


def test_numbers_stay(folder: Path) -> None:
    before = list_files(str(folder), numbered=NONE).items
    (folder / "a::b.png").unlink()
    write_files(folder, {"0.png": png(5)})
    after = list_files(str(folder), numbered=before).items
    assert dict(zip(after["path"].to_pylist(), after["image"].to_pylist(), strict=True)) == {
        "a/[1] *?.jpeg": 0,
        "b.PNG": 2,
        "z.gif": 3,
        "0.png": 4,
    }
    assert after["image"].to_pylist() == sorted(after["image"].to_pylist())


def test_another_content_is_seen(folder: Path) -> None:
    before = list_files(str(folder), numbered=NONE).items
    (folder / "b.PNG").write_bytes(png(9) + b"longer")
    after = list_files(str(folder), numbered=before).items
    changed = [
        a["path"] for a, b in zip(after.to_pylist(), before.to_pylist(), strict=True) if a != b
    ]
    assert changed == ["b.PNG"]


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_a_manifest_keeps_its_columns(folder: Path, tmp_path: Path, suffix: str) -> None:
    paths = ["b.PNG", str(folder / "a::b.png"), "gone.png"]
    rows = pa.table({"price": [3, 1, 2], "path": paths, "address": ["x", None, "y"]})
    manifest = folder / f"list.{suffix}"
    write = pq.write_table if suffix == "parquet" else pa.csv.write_csv
    write(rows, manifest)
    source = list_files(str(manifest), numbered=NONE)
    assert source.items.column_names == ["image", "path", "content", "price", "address"]
    assert source.items["path"].to_pylist() == paths
    written = ["3", "1", "2"] if suffix == "csv" else [3, 1, 2]
    assert source.items["price"].to_pylist() == written
    first, second, gone = read(source)
    np.testing.assert_array_equal(first, decode(png(1), image_size_px=32))
    np.testing.assert_array_equal(second, decode(png(3), image_size_px=32))
    assert gone.reason == "missing"


def test_a_manifest_in_csv_is_text_as_written(tmp_path: Path) -> None:
    names = ["00123", "1e5", "NA", "true"]
    rows = [f"{name}, {name} ,NA,,1\n" for name in names]
    write_files(tmp_path, {name: png(seed) for seed, name in enumerate(names)})
    write_files(tmp_path, {"list.csv": "\ufeffpath,sku,brand,note,content\n" + "".join(rows)})
    source = list_files(str(tmp_path / "list.csv"), numbered=NONE)
    assert source.items["path"].to_pylist() == names
    assert source.items["sku"].to_pylist() == names
    assert source.items["brand"].to_pylist() == ["NA"] * 4
    assert source.items["note"].to_pylist() == [None] * 4
    assert source.items["content"].to_pylist() == ["1"] * 4
    assert not [pixels for pixels in read(source) if isinstance(pixels, UnreadableImageError)]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('path,note\na.png,"x\nb.png,y"\n', r"list\.csv line 2: the cell .* goes on to line 3"),
        ("path,note\na.png,x\nb.png\n", r"list\.csv line 3: expected 2 cells .* got 1"),
        ("path;note\na.png;x\n", r"list\.csv line 1: the separator seems to be ';'"),
        ("path,note,note\na.png,x,y\n", r"list\.csv: two columns are named 'note'"),
        ("path,note\n,x\n", "1 rows have no path"),
        ("path,note\n", "holds no images"),
    ],
)
def test_a_manifest_in_csv_that_cannot_be_used(tmp_path: Path, content: str, message: str) -> None:
    write_files(tmp_path, {"list.csv": content})
    with pytest.raises(HemlineError, match=message):
        list_files(str(tmp_path / "list.csv"), numbered=NONE)


def test_a_manifests_path_in_another_form_is_read(tmp_path: Path) -> None:
    nfc, nfd = "d\u00e9collet\u00e9", "de\u0301collete\u0301"
    write_files(tmp_path, {f"{nfd}/a.png": png(0), "x/b.png": png(1)})
    written = [f"{nfc}/a.png", "x\\b.png"]
    pq.write_table(pa.table({"path": written}), tmp_path / "list.parquet")
    source = list_files(str(tmp_path / "list.parquet"), numbered=NONE)
    assert source.items["path"].to_pylist() == written
    for found, seed in zip(read(source), (0, 1), strict=True):
        np.testing.assert_array_equal(found, decode(png(seed), image_size_px=32))


def test_numbers_as_contents_become_text(tmp_path: Path) -> None:
    pq.write_table(pa.table({"path": [7], "content": [3]}), tmp_path / "list.parquet")
    items = list_files(str(tmp_path / "list.parquet"), numbered=NONE).items
    assert items.select(["path", "content"]).to_pylist() == [{"path": "7", "content": "3"}]


def test_a_manifests_own_word_on_contents_counts(folder: Path) -> None:
    pq.write_table(pa.table({"path": ["b.PNG"], "content": ["v1"]}), folder / "list.parquet")
    assert (
        list_files(str(folder / "list.parquet"), numbered=NONE).items["content"][0].as_py() == "v1"
    )


def test_urls_are_read_with_fsspec(folder: Path) -> None:
    memory = fsspec.filesystem("memory")
    memory.pipe({"/bucket/shop/a.png": png(1), "/bucket/shop/deep/b.png": png(2)})
    source = list_files("memory://bucket/shop", numbered=NONE)
    assert source.items["path"].to_pylist() == ["a.png", "deep/b.png"]
    assert source.root == "memory://bucket/shop"
    np.testing.assert_array_equal(read(source)[1], decode(png(2), image_size_px=32))

    memory.pipe("/bucket/list.csv", b"path\nshop/a.png\nmemory://bucket/shop/deep/b.png\n")
    listed = list_files("memory://bucket/list.csv", numbered=NONE)
    assert len(read(listed)) == 2
    for found, seed in zip(read(listed), (1, 2), strict=True):
        np.testing.assert_array_equal(found, decode(png(seed), image_size_px=32))


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ({"file": ["a.png"]}, r"no column 'path'.*\['file'\]"),
        ({"path": ["a.png", "b.png", "a.png"]}, "more than once, first 'a.png'"),
        ({"path": ["a.png", None]}, "1 rows have no path"),
        ({"path": ["a.png"], "image": [3]}, "column `image`"),
        ({"path": pa.array([], pa.string())}, "holds no images"),
    ],
)
def test_a_manifest_that_cannot_be_used(tmp_path: Path, rows: dict, message: str) -> None:
    pq.write_table(pa.table(rows), tmp_path / "list.parquet")
    with pytest.raises(HemlineError, match=message):
        list_files(str(tmp_path / "list.parquet"), numbered=NONE)


def test_what_is_no_place_of_images(tmp_path: Path) -> None:
    for where, message in (
        (tmp_path, "holds no images"),
        (tmp_path / "gone", "neither a folder nor"),
        ("nowhere://bucket", "nowhere"),
    ):
        with pytest.raises(HemlineError, match=message):
            list_files(str(where), numbered=NONE)


def test_a_server_that_does_not_answer_is_asked_once_and_not_for_each_image(
    silent_s3: str, tmp_path: Path
) -> None:
    lines = ["path", *(f"s3://bucket/{number}.jpg" for number in range(200))]
    (tmp_path / "list.csv").write_text("\n".join(lines))
    with pytest.raises(HemlineError, match=r"s3://bucket/\d+\.jpg cannot be read") as error:
        list_files(str(tmp_path / "list.csv"), numbered=NONE)
    assert silent_s3 in str(error.value)
