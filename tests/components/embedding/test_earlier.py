"""What a version that was grown from another takes over of its embeddings, and what it embeds."""

import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from builders import flip_a_bit, write_files
from embedded_folders import lay_out_as_older
from embedding_runs import picture
from grown import HERE, Embedding, write_grown

from components import files
from components.embedding.embeddings import MANIFEST, Embeddings, read_embeddings
from components.embedding.part_files import listed_files, read_complete
from components.errors import HemlineError
from components.registry.package import Package

OLD, NEW = ("collar", "hem / cuff"), "sleeve"
NUM_IMAGES = 20


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Package]:
    return write_grown(tmp_path_factory.mktemp("packages"))


@pytest.fixture
def embed(packages: dict[str, Package]) -> Iterator[Embedding]:
    with pytest.MonkeyPatch.context() as patch:
        yield Embedding(packages, patch)


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Twenty pictures; parts are of eight."""
    return write_files(
        tmp_path / "in", {f"{number:02d}.png": picture(number) for number in range(NUM_IMAGES)}
    )


@pytest.fixture
def parent(embed: Embedding, images: Path, tmp_path: Path) -> Embeddings:
    assert embed("parent", images, tmp_path / "parent") == dict.fromkeys(OLD, NUM_IMAGES)
    return embed.made


def inodes(embedded: Embeddings, attribute: str) -> list[int]:
    """Returns what tells the files of an attribute's parts from others."""
    parts = [part for part in embedded.parts if part.num_images]
    return [embedded.part_path(attribute, part.key).stat().st_ino for part in parts]


def checksums(embedded: Embeddings, attribute: str) -> list[str | None]:
    parts = [part for part in embedded.parts if part.num_images]
    return [embedded.written(embedded.part_path(attribute, part.key)) for part in parts]


def vectors(embedded: Embeddings, attribute: str) -> np.ndarray:
    return np.concatenate([part.embeddings_nD for part in embedded.vectors(attribute)])


def makers(embedded: Embeddings, attribute: str) -> list[int]:
    """Returns the version that made each image's vector."""
    tables = [pq.read_table(embedded.part_path(attribute, x.key)) for x in embedded.parts]
    return [version for table in tables for version in table["model_version"].to_pylist()]


def assert_whole(embedded: Embeddings) -> None:
    """Asserts that all files are there, as they were written."""
    read_complete(embedded.folder)
    for path in listed_files(embedded):
        assert files.checksum(path) == embedded.written(path), path


@pytest.mark.parametrize("is_beside", [False, True])
def test_a_new_attribute_alone_is_embedded(embed, images, parent, tmp_path, is_beside) -> None:
    """Also in the folder of the parent's embeddings, which are no longer there then."""
    theirs = {name: (inodes(parent, name), checksums(parent, name)) for name in OLD}
    before = {name: vectors(parent, name) for name in OLD}
    out = tmp_path / "child" if is_beside else parent.folder
    earlier = [parent.folder] if is_beside else []
    assert embed("child", images, out, earlier=earlier) == {NEW: NUM_IMAGES}
    child = read_embeddings(out)
    assert child == embed.made
    assert (child.model_version, child.attributes) == (2, (*OLD, NEW))
    assert child.ancestors == embed.packages["child"].ancestors
    for name in OLD:
        assert (inodes(child, name), checksums(child, name)) == theirs[name]
        np.testing.assert_array_equal(vectors(child, name), before[name])
    by_version = [set(makers(child, name)) for name in child.attributes]
    assert by_version == [{1}, {1}, {2}], "who really made them"
    assert_whole(child)
    assert {path.stat().st_nlink for path in child.folder.glob("vectors/*")} == (
        {1, 2} if is_beside else {1}
    )
    if is_beside:
        shutil.rmtree(out)
        assert_whole(parent)
    else:
        assert embed("child", images, out) == {}, "a second time"
        assert read_embeddings(out) == child


def test_what_was_embedded_is_what_the_network_gives(embed, images, parent, tmp_path) -> None:
    embed("child", images, tmp_path / "child", earlier=[parent.folder])
    taken = embed.made
    embed("child", images, tmp_path / "alone")
    for name in taken.attributes:
        np.testing.assert_array_equal(vectors(taken, name), vectors(embed.made, name))


def test_a_second_growth_takes_from_both_before(embed, images, parent, tmp_path) -> None:
    out = tmp_path / "grandchild"
    lacking = dict.fromkeys([NEW, "pocket"], NUM_IMAGES)
    assert embed("grandchild", images, out, earlier=[parent.folder]) == lacking
    shutil.rmtree(out)
    embed("child", images, tmp_path / "child", earlier=[parent.folder])
    child = embed.made
    new = {"pocket": NUM_IMAGES}
    assert embed("grandchild", images, out, earlier=[child.folder, parent.folder]) == new
    for name in child.attributes:
        assert inodes(embed.made, name) == inodes(child, name)
    assert inodes(embed.made, "collar") == inodes(parent, "collar")
    # and back: an ancestor's are there, too
    assert embed("parent", images, out) == {}
    assert inodes(embed.made, "collar") == inodes(parent, "collar")
    assert not [*out.glob("vectors/*-pocket.parquet")]


def test_a_dropped_attribute_is_not_taken(embed, images, parent) -> None:
    """Another one has its number then."""
    hems = inodes(parent, "hem / cuff")
    assert embed("without collar", images, parent.folder) == {NEW: NUM_IMAGES}
    assert embed.made.attributes == ("hem / cuff", NEW)
    assert inodes(embed.made, "hem / cuff") == hems
    assert not [*parent.folder.glob("vectors/*-collar.parquet")]


def test_versions_that_were_grown_from_one_share_what_it_knows(
    embed, images, parent, tmp_path
) -> None:
    embed("without collar", images, tmp_path / "one", earlier=[parent.folder])
    lacking = dict.fromkeys(["collar", NEW], NUM_IMAGES)
    assert embed("child", images, tmp_path / "two", earlier=[tmp_path / "one"]) == lacking


def test_no_stranger_takes_anything(embed, images, parent) -> None:
    assert embed("stranger", images, parent.folder) == dict.fromkeys(OLD, NUM_IMAGES)


@pytest.mark.parametrize("other", [{"precision": "bf16"}, {"storage": "float32"}])
def test_other_numbers_are_not_taken(embed, images, parent, other) -> None:
    every = dict.fromkeys([*OLD, NEW], NUM_IMAGES)
    assert embed("child", images, parent.folder, params=replace(HERE, **other)) == every


def test_other_crops_are_not_taken(embed, images, parent) -> None:
    cropping = replace(embed.packages["child"], crop="box")
    every = dict.fromkeys([*OLD, NEW], NUM_IMAGES)
    assert embed("child", images, parent.folder, package=cropping) == every


def test_new_and_changed_images_are_embedded_for_all(embed, images, parent) -> None:
    """Others for the new attribute alone: in parts with both, rows are taken over."""
    path_of = dict(zip(*parent.items().select(["image", "path"]).to_pydict().values(), strict=True))
    before = {name: dict(zip(path_of, vectors(parent, name), strict=True)) for name in OLD}
    kept = inodes(parent, "collar")[0]
    write_files(images, {"12.png": picture(31) + b"trailing", "new.png": picture(30)})
    (images / "10.png").unlink()
    assert embed("child", images, parent.folder) == dict.fromkeys(OLD, 2) | {NEW: NUM_IMAGES}
    child = embed.made
    assert inodes(child, "collar")[0] == kept, "of a part that did not change"
    numbers = child.items()["image"].to_pylist()
    paths = child.items()["path"].to_pylist()
    for name in OLD:
        for image, path, vector, maker in zip(
            numbers, paths, vectors(child, name), makers(child, name), strict=True
        ):
            is_new = path in ("12.png", "new.png")
            assert maker == (2 if is_new else 1)
            assert is_new or (vector == before[name][image]).all()
    alone = parent.folder.with_name("alone")
    embed("child", images, alone)
    of_path = dict(zip(embed.made.items()["path"].to_pylist(), count(), strict=False))
    for name in child.attributes:
        expected = vectors(embed.made, name)[[of_path[path] for path in paths]]
        np.testing.assert_array_equal(vectors(child, name), expected)


def test_images_that_went_while_it_was_embedding(embed, images, parent) -> None:
    """What a killed run made of a part is kept, and of the others the parent's rows are taken."""
    with pytest.MonkeyPatch.context() as patch:
        stop_before(14, patch)
        with pytest.raises(KeyboardInterrupt):
            embed("child", images, parent.folder)
    assert len(list(parent.folder.glob("parts/part-*"))) == 3 + 1, "one part is done"
    (images / "00.png").unlink()
    (images / "19.png").unlink()
    assert embed("child", images, parent.folder) == {NEW: NUM_IMAGES - 8 - 1}
    assert embed.made.num_images == NUM_IMAGES - 2
    assert_whole(embed.made)


def test_unreadable_images_are_tried_again(embed, images, tmp_path) -> None:
    """One that was read for the parent and is not for the child has no row any more."""
    write_files(images, {"broken.png": b"none", "07.png": picture(7)})
    asked = embed("parent", images, tmp_path / "out")
    assert asked == dict.fromkeys(OLD, NUM_IMAGES + 1)
    before = inodes(embed.made, "collar")
    status, data = (images / "19.png").stat(), (images / "19.png").read_bytes()
    (images / "19.png").write_bytes(bytes(len(data)))
    os.utime(images / "19.png", ns=(status.st_atime_ns, status.st_mtime_ns))
    asked = embed("child", images, tmp_path / "out")
    assert asked == dict.fromkeys(OLD, 1) | {NEW: NUM_IMAGES + 1}, "also for what is broken"
    child = embed.made
    assert (child.num_images, child.num_quarantined) == (NUM_IMAGES - 1, 2)
    assert inodes(child, "collar")[:2] == before[:2]
    assert inodes(child, "collar")[2] != before[2]
    assert {*makers(child, "collar")} == {1}
    assert "19.png" not in child.items()["path"].to_pylist()
    assert_whole(child)


def test_some_attributes_alone_and_then_all(embed, images, parent, tmp_path) -> None:
    out = tmp_path / "child"
    assert embed("child", images, out, attributes=[NEW]) == {NEW: NUM_IMAGES}
    new = inodes(embed.made, NEW)
    assert embed("child", images, out, earlier=[parent.folder]) == {}
    assert inodes(embed.made, NEW) == new
    assert inodes(embed.made, "collar") == inodes(parent, "collar")
    assert embed("child", images, out, attributes=["hem / cuff"]) == {}
    assert embed.made.attributes == ("hem / cuff",)
    assert embed("child", images, out, earlier=[parent.folder]) == {NEW: NUM_IMAGES}


def test_a_damaged_file_is_not_taken(embed, images, parent, tmp_path) -> None:
    path, out = parent.part_path("collar", parent.parts[1].key), tmp_path / "child"
    flip_a_bit(path)
    with pytest.raises(HemlineError, match=rf"{path} is damaged .*: remove .* `hemline embed`"):
        embed("child", images, out, earlier=[parent.folder])
    assert not (out / MANIFEST).exists()
    path.unlink()
    asked = embed("child", images, out, earlier=[parent.folder])
    assert asked == {"collar": 8, NEW: NUM_IMAGES - 8}, "the first part was made by then"
    assert_whole(embed.made)


def test_files_of_an_older_hemline_are_taken(embed, images, parent, tmp_path) -> None:
    """They lie elsewhere, and may have no checksums."""
    older = lay_out_as_older(parent.folder)
    assert embed("child", images, tmp_path / "child", earlier=[older.folder]) == {NEW: NUM_IMAGES}
    assert inodes(embed.made, "collar") == inodes(older, "collar")
    assert checksums(embed.made, "collar") == checksums(older, "collar")


def test_without_hard_links_files_are_copied(embed, images, parent, tmp_path, monkeypatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError("no hard links here")

    monkeypatch.setattr(os, "link", refuse)
    out = tmp_path / "child"
    assert embed("child", images, out, earlier=[parent.folder]) == {NEW: NUM_IMAGES}
    assert not {*inodes(embed.made, "collar")} & {*inodes(parent, "collar")}
    np.testing.assert_array_equal(vectors(embed.made, "collar"), vectors(parent, "collar"))
    assert_whole(embed.made)


def test_what_dvc_links_to_its_cache_stays_when_that_is_emptied(
    embed, images, parent, tmp_path
) -> None:
    cache = tmp_path / "cache"
    cache.mkdir()
    for path in parent.folder.glob("vectors/*"):
        path.rename(cache / path.name)
        path.symlink_to(cache / path.name)
    embed("child", images, tmp_path / "child", earlier=[parent.folder])
    shutil.rmtree(cache)
    assert_whole(embed.made)


@pytest.mark.parametrize("is_beside", [False, True])
def test_killed_before_any_write_and_started_again_it_ends_the_same(
    embed, images, parent, tmp_path, is_beside
) -> None:
    expected = {path.stat().st_ino for path in parent.folder.glob("vectors/*")}
    untouched = content(parent.folder)
    ends, num_writes, is_killed = [], 0, True
    while is_killed:
        out = tmp_path / str(num_writes)
        if not is_beside:
            shutil.copytree(parent.folder, out, copy_function=os.link)
        with pytest.MonkeyPatch.context() as patch:
            stop_before(num_writes, patch)
            try:
                embed("child", images, out, earlier=[parent.folder] if is_beside else [])
                is_killed = False
            except KeyboardInterrupt:
                num_writes += 1
        embed("child", images, out, earlier=[parent.folder] if is_beside else [])
        taken = {ino for name in OLD for ino in inodes(embed.made, name)}
        assert taken == expected
        ends.append(content(out))
    assert num_writes > 20
    assert all(end == ends[0] for end in ends)
    assert content(parent.folder) == untouched


def content(folder: Path) -> dict[str, bytes]:
    paths = [path for path in folder.rglob("*") if path.is_file()]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def stop_before(write: int, patch: pytest.MonkeyPatch) -> None:
    """Lets the process stop before a write, counted from 0: a new name, another one, or none."""
    numbers = count()
    for name in ("replace", "link", "unlink"):
        make = getattr(os, name)

        def counting(*arguments: object, _make=make, **options: object) -> object:
            if next(numbers) == write:
                raise KeyboardInterrupt
            return _make(*arguments, **options)

        patch.setattr(os, name, counting)
