"""What versions were grown from, in the store where they were and in others, whatever the numbers.

One network stands for all: each version's file of it ends in other bytes.
"""

import shutil
from dataclasses import asdict
from pathlib import Path

import pytest

from components import files
from components.errors import HemlineError
from components.registry import ancestry, copying, registration, versions
from components.registry.package import NETWORK_FILE, PACKAGE_FILE, Ancestor, Package
from components.registry.versions import EXTENDS_TAG, UNCHANGED_TAG, RegisteredVersion
from components.tracking import runs
from components.tracking.runs import Tracking

ATTRIBUTES = (("sleeve",), ("sleeve", "skirt"), ("sleeve", "skirt", "fit"))


def version(number: int) -> RegisteredVersion:
    return RegisteredVersion(name="hemline", version=number)


def store(folder: Path) -> Tracking:
    folder.mkdir()
    return Tracking(uri=f"sqlite:///{folder}/mlflow.db", artifact_root=str(folder / "files"))


@pytest.fixture(scope="module")
def here(example, tmp_path_factory: pytest.TempPathFactory) -> Tracking:
    """A store with a version, one that extends it, one that extends that, and a stranger."""
    folder = tmp_path_factory.mktemp("ancestry")
    tracking = store(folder / "here")
    line: list[Ancestor] = []
    for names in ATTRIBUTES:
        made = _register(example.package, folder, tracking, line)
        graph = versions.graph_sha256(made, tracking=tracking)
        line.insert(
            0, Ancestor(name="hemline", version=made.version, graph_sha256=graph, attributes=names)
        )
    _register(example.package, folder, tracking, [])
    return tracking


def _register(
    package: Package, folder: Path, tracking: Tracking, ancestors: list[Ancestor]
) -> RegisteredVersion:
    run_id = runs.start_run(tracking, params={}, tags={})
    shutil.copytree(package.folder, folder / run_id)
    with (folder / run_id / NETWORK_FILE).open("ab") as network:
        network.write(run_id.encode())
    content = files.read_json(folder / run_id / PACKAGE_FILE)
    content["crc32"] = files.checksum(folder / run_id / NETWORK_FILE)
    content["ancestors"] = [asdict(ancestor) for ancestor in ancestors]
    files.write_json(content, folder / run_id / PACKAGE_FILE)
    made = registration.register_package(
        folder / run_id, card="# A card\n", tracking=tracking, run_id=run_id
    )
    if ancestors:
        versions.write_tag(made, EXTENDS_TAG, ancestors[0].uri, tracking=tracking)
        versions.write_tag(made, UNCHANGED_TAG, "5" * 64, tracking=tracking)
    return made


def test_a_version_shares_what_its_ancestors_knew(here: Tracking) -> None:
    for later, earlier, shared in (
        (2, 1, ("sleeve",)),
        (3, 2, ("sleeve", "skirt")),
        (3, 1, ("sleeve",)),
        (1, 2, ()),  # it knows nothing of what came after
        (2, 2, ()),
        (3, 4, ()),
        (4, 1, ()),
    ):
        found = ancestry.shared_attributes(version(later), version(earlier), tracking=here)
        assert found == shared, (later, earlier)


def test_what_was_not_proved_is_not_shared(here: Tracking) -> None:
    here.client().delete_model_version_tag("hemline", "2", UNCHANGED_TAG)
    assert ancestry.shared_attributes(version(2), version(1), tracking=here) == ()
    versions.write_tag(version(2), UNCHANGED_TAG, "5" * 64, tracking=here)
    assert ancestry.shared_attributes(version(2), version(1), tracking=here) == ("sleeve",)


def test_the_package_is_described_without_its_network(here: Tracking, example) -> None:
    found = ancestry.described(version(3), tracking=here)
    assert found.schema == example.package.schema
    assert [(each.version, each.attributes) for each in found.ancestors] == [
        (2, ("sleeve", "skirt")),
        (1, ("sleeve",)),
    ]
    with pytest.raises(HemlineError, match=r"models:/hemline/9 in the registry .* lacks its"):
        ancestry.described(version(9), tracking=here)


def test_what_a_version_extends_is_named_as_it_is_here(here: Tracking) -> None:
    parents = [ancestry.parent_of(version(number), tracking=here) for number in (1, 2, 3)]
    assert parents == [None, "models:/hemline/1", "models:/hemline/2"]


def test_in_another_store_graphs_count_and_not_numbers(here: Tracking, tmp_path: Path) -> None:
    """There the stranger is the first version, and what was the first is the second."""
    there = store(tmp_path / "there")
    for number in (4, 1, 2):
        copying.copy_version(version(number), here, there)
    assert ancestry.shared_attributes(version(3), version(2), tracking=there) == ("sleeve",)
    assert ancestry.shared_attributes(version(3), version(1), tracking=there) == ()
    tags = there.client().get_model_version("hemline", "3").tags
    assert (tags[EXTENDS_TAG], tags[UNCHANGED_TAG]) == ("models:/hemline/1", "5" * 64)
    assert ancestry.parent_of(version(3), tracking=there) == "models:/hemline/2"


def test_a_parent_that_another_store_lacks_is_said_to_be_elsewhere(
    here: Tracking, tmp_path: Path
) -> None:
    there = store(tmp_path / "there")
    copied = copying.copy_version(version(2), here, there).version
    assert ancestry.parent_of(copied, tracking=there) == "models:/hemline/1 of another registry"
