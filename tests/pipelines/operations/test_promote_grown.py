"""A version that was grown from another is published: what it shares is the same files."""

import json
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import yaml
from promotable import SCHEMA, SIZE_PX, Corners, Promotable, promotable
from torch import Tensor, nn

from components import files
from components.attributes import Attribute, AttributeSchema
from components.embedding import source
from components.embedding.batches import attributes_of
from components.embedding.embeddings import Embeddings, read_embeddings
from components.embedding.job import Embedder
from components.embedding.part_files import listed_files, read_complete
from components.registry import promotion, registration, versions
from components.registry.graph import write_package
from components.registry.package import Ancestor
from components.registry.versions import RegisteredVersion
from components.tracking import runs
from pipelines.operations import index as index_command
from pipelines.operations.promote.inputs import Inputs
from pipelines.operations.promote.publishing import publish, why_not_published
from pipelines.operations.rollback import rollback
from pipelines.shell.cli import main
from pipelines.stages.embed import embed

NUM_IMAGES = 50  # in parts of 20
PARENT, OTHER, CHILD = (RegisteredVersion(name="hemline", version=x) for x in (1, 2, 3))
OLD, NEW = ("top", "bottom"), "left"


class Grown(nn.Module):
    """Corners, and the mean of all pixels for one more attribute."""

    pixel_statistics = Corners.pixel_statistics

    def __init__(self, size: int) -> None:
        super().__init__()
        self.corners = Corners(dict.fromkeys(OLD, size))

    def forward(self, images_B3HW: Tensor, attributes_BK: Tensor) -> Tensor:
        known_BK3 = self.corners(images_B3HW, attributes_BK.clamp(max=1))
        mean_B13 = nn.functional.normalize(images_B3HW.mean(dim=(2, 3)), dim=-1)[:, None]
        return torch.where(attributes_BK[..., None] < len(OLD), known_BK3, mean_B13)


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Promotable:
    """A project with three versions, of which the third was grown from the first."""
    project = promotable(tmp_path_factory.mktemp("begun"), num_images=NUM_IMAGES)
    for corner in (4, 1):
        project.register(corner, evaluated=False)
    ancestor = Ancestor(
        name=PARENT.name,
        version=PARENT.version,
        graph_sha256=versions.graph_sha256(PARENT, tracking=project.tracking),
        attributes=OLD,
    )
    new = Attribute(name=NEW, values=("red", "green"))
    write_package(
        Grown(4),
        project.folder / "package",
        schema=AttributeSchema(dataset="halves", attributes=(*SCHEMA.attributes, new)),
        image_size_px=SIZE_PX,
        ancestors=[ancestor],
    )
    run_id = runs.start_run(project.tracking, params={}, tags={})
    made = registration.register_package(
        project.folder / "package", card="# Card\n", tracking=project.tracking, run_id=run_id
    )
    assert made == CHILD
    return project


@pytest.fixture
def project(begun: Promotable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Promotable:
    """A copy of the project, in which nothing is embedded yet, and all is without Ray."""
    folder = tmp_path / "project"
    shutil.copytree(begun.folder, folder, ignore=shutil.ignore_patterns("mlartifacts"))
    monkeypatch.chdir(folder)
    monkeypatch.setenv("HEMLINE_CACHE", str(tmp_path / "cache"))
    copied = Promotable(folder=folder)
    copied.set_params()
    params = yaml.safe_load(Path("params.yaml").read_text())
    params["embed"] |= {"num_workers": 0, "images_per_part": 20}
    Path("params.yaml").write_text(yaml.safe_dump(params))
    return copied


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Iterator[Counter[str]]:
    """How many images the network was asked for, by attribute."""
    counts: Counter[str] = Counter()
    real = Embedder.__call__

    def counting(embedder: Embedder, batch):
        for name in attributes_of(batch):
            counts[name] += len(batch)
        return real(embedder, batch)

    monkeypatch.setattr(Embedder, "__call__", counting)
    return counts


def published(project: Promotable, version: RegisteredVersion, **inputs: str) -> Embeddings:
    publish(version, Inputs(**inputs), project.tracking)
    address = versions.read_tag(version, promotion.EMBEDDINGS_TAG, tracking=project.tracking)
    return read_embeddings(Path(str(address)))


def inodes(embedded: Embeddings, *attributes: str) -> list[int]:
    return [
        embedded.part_path(name, part.key).stat().st_ino
        for name in attributes
        for part in embedded.parts
    ]


def assert_whole(embedded: Embeddings) -> None:
    assert read_complete(embedded.folder) == embedded
    for path in listed_files(embedded):
        assert not files.problem_of(path, embedded.written(path))


def status_of(*arguments: str) -> int:
    with pytest.raises(SystemExit) as stopped:
        main(list(arguments))
    return int(stopped.value.code or 0)


@pytest.mark.parametrize("where", ["published", "data/embeddings"])
def test_the_childs_folder_shares_the_parents_files(project, asked, where, capsys) -> None:
    """They are where the parent's tag says, or where they were made last."""
    if where == "published":
        parent = published(project, PARENT)
        embed(model=OTHER.uri)
    else:
        embed(model=PARENT.uri)
        parent = read_embeddings(Path(where))
    asked.clear()
    child = published(project, CHILD)
    assert asked == {NEW: NUM_IMAGES}
    assert inodes(child, *OLD) == inodes(parent, *OLD)
    assert (child.model_version, child.ancestors[0].version) == (3, 1)
    assert_whole(child)
    assert why_not_published(CHILD, project.tracking) is None
    shutil.rmtree(parent.folder)
    assert_whole(child)


def test_data_embeddings_takes_what_was_published(project, asked) -> None:
    """Where it holds those of another version, as after a challenger that was rejected."""
    parent = published(project, PARENT)
    embed(model=OTHER.uri)
    asked.clear()
    embed(model=CHILD.uri)
    assert asked == {NEW: NUM_IMAGES}
    child = read_embeddings(Path("data/embeddings"))
    assert inodes(child, *OLD) == inodes(parent, *OLD)
    embed(model=OTHER.uri)
    assert_whole(parent)


def test_a_rollback_finds_the_parents_as_they_were(project, asked) -> None:
    """Whatever became of the child's folder, and of its own part in it."""
    parent = published(project, PARENT)
    before_images_came = inodes(parent, "top")
    for version, before in ((PARENT, None), (CHILD, PARENT)):
        published(project, version)
        promotion.move_champion(
            "promote",
            version.version,
            expected=before and before.version,
            who="a test",
            tracking=project.tracking,
        )
    project.add_images(NUM_IMAGES, 5)
    source._store.cache_clear()  # as in another process
    asked.clear()
    again = published(project, CHILD)  # another last part
    assert asked == dict.fromkeys(OLD, 5) | {NEW: 5}
    assert inodes(again, "top")[:2] == before_images_came[:2]
    assert_whole(parent)
    shutil.rmtree(again.folder)
    rollback()
    assert versions.champion(project.tracking) == PARENT.version
    assert_whole(parent)
    asked.clear()
    taken = published(project, PARENT)
    assert asked == dict.fromkeys(OLD, 5)
    assert inodes(taken, "top")[:2] == before_images_came[:2]


def test_versions_share_files_whoever_copied_them_meanwhile(project, asked) -> None:
    """DVC does: what it commits or is to write into it makes copies of, where it was linked."""
    parent = published(project, PARENT)
    embed(model=PARENT.uri)
    embed(model=CHILD.uri)
    shutil.copytree("data/embeddings", "copied")
    shutil.rmtree("data/embeddings")
    Path("copied").rename("data/embeddings")
    asked.clear()
    child = published(project, CHILD)
    assert not asked
    assert inodes(child, *OLD) == inodes(parent, *OLD)
    assert inodes(child, NEW) == inodes(read_embeddings(Path("data/embeddings")), NEW)
    assert_whole(child)


def test_what_was_embedded_is_linked(project, asked) -> None:
    embed(model=CHILD.uri)
    made = read_embeddings(Path("data/embeddings"))
    asked.clear()
    child = published(project, CHILD)
    assert not asked
    assert inodes(child, *child.attributes) == inodes(made, *made.attributes)
    embed(model=OTHER.uri)
    assert_whole(child)


def test_what_goes_to_a_url_is_taken_from_a_folder_and_uploaded(project, asked) -> None:
    parent = published(project, PARENT)
    asked.clear()
    publish(CHILD, Inputs(embeddings_root=f"file://{project.folder}/shop"), project.tracking)
    assert asked == {NEW: NUM_IMAGES}
    assert len([*Path("shop/hemline-3/vectors").glob("*.parquet")]) == 3 * len(parent.parts)
    assert why_not_published(CHILD, project.tracking) is None
    assert_whole(parent)


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """What `hemline index` built, of how few vectors ever: kind and attribute."""
    made: list[tuple[str, str]] = []
    monkeypatch.setattr(index_command, "MIN_INDEXED", 20)
    monkeypatch.setattr("components.search.index._HELD_OUT", 10)
    for name in ("write_map", "build_index"):
        real = getattr(index_command, name)

        def building(embedded: Embeddings, attribute: str, _real=real, _name=name, **options):
            made.append((_name, attribute))
            return _real(embedded, attribute, **options)

        monkeypatch.setattr(index_command, name, building)
    return made


def test_an_index_of_the_parents_serves_the_child(project, built, capsys) -> None:
    parent = published(project, PARENT)
    assert status_of("index", "--embeddings", str(parent.folder)) == 0
    assert built == [(kind, name) for name in OLD for kind in ("write_map", "build_index")]
    child = published(project, CHILD)
    taken = sorted(child.folder.glob("index/*/*"))
    assert len(taken) == 2 * 4
    assert all(path.samefile(parent.folder / path.relative_to(child.folder)) for path in taken)
    built.clear()
    assert status_of("index", "--embeddings", str(child.folder)) == 0
    assert built == [("write_map", NEW), ("build_index", NEW)]
    assert sorted(path for path in child.folder.glob("index/*/*") if NEW not in str(path)) == taken
    # what is damaged is made again, and the parent's stays
    whole = taken[0].read_bytes()
    taken[0].unlink()
    taken[0].write_bytes(whole[:-1])
    built.clear()
    assert status_of("index", "--embeddings", str(child.folder)) == 0
    assert len(built) == 1
    assert status_of("check", "--embeddings-root", str(parent.folder.parent)) == 0


def test_where_the_child_follows_the_parent_its_index_goes_on(project, built, capsys) -> None:
    embed(model=PARENT.uri)
    assert status_of("index") == 0
    embed(model=CHILD.uri)
    built.clear()
    assert status_of("index") == 0
    assert built == [("write_map", NEW), ("build_index", NEW)]
    embed(model=OTHER.uri)
    built.clear()
    assert status_of("index") == 0
    assert len(built) == 2 * len(OLD), "another model's"
    assert len([*Path("data/embeddings/index").glob("attribute=top/*")]) == 4, "nothing stale"


def test_neighbours_by_what_did_not_change_are_kept(project, capsys) -> None:
    counts = []
    for version in (PARENT, CHILD):
        embed(model=version.uri)
        capsys.readouterr()
        assert status_of("neighbours", "--all-items", "--format", "json") == 0
        document = json.loads(capsys.readouterr().out)
        counts.append((document["num_whole"], document["num_kept"]))
    assert counts == [(2 * NUM_IMAGES, 0), (NUM_IMAGES, 2 * NUM_IMAGES)]


def test_a_search_takes_the_parent_for_what_both_know(project, capsys) -> None:
    embed(model=CHILD.uri)
    asked = ("search", "--id", "7", "--all-items", "--format", "json", "--model", PARENT.uri)
    assert status_of(*asked, "--attribute", "top") == 0
    assert status_of(*asked, "--attribute", NEW) == 1
    assert "not comparable but for top, bottom: leave" in " ".join(capsys.readouterr().err.split())
