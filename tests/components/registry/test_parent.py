"""The version that a network is grown from: as it lies in the project, and as an ancestor."""

import json
import shutil
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from builders import flip_a_bit
from torch import Tensor, nn

from components import files
from components.attributes import Attribute, AttributeSchema
from components.errors import HemlineError
from components.networks import IMAGENET_PIXELS
from components.registry.graph import write_package
from components.registry.package import NETWORK_FILE, Ancestor, Package, read_package
from components.registry.parent import Parent, read_parent
from components.registry.versions import RegisteredVersion, write_registration
from components.tables import PARENT_PACKAGE, PARENT_VERSION


@pytest.fixture
def folder(example, tmp_path: Path) -> Path:
    """A folder in which version 7 lies, which knows sleeve, skirt and neck|line."""
    shutil.copytree(example.package.folder, tmp_path / PARENT_PACKAGE)
    version = RegisteredVersion(name="shop", version=7)
    write_registration(version, tmp_path / PARENT_VERSION, graph_sha256="0" * 64)
    return tmp_path


def test_it_is_the_version_and_the_package_that_lie_there(folder, example):
    found = read_parent(folder)
    assert found.version.uri == "models:/shop/7"
    assert found.package == read_package(folder / PARENT_PACKAGE)
    assert found.package.schema == example.package.schema


@pytest.mark.parametrize("name", [PARENT_VERSION, f"{PARENT_PACKAGE}/package.json"])
def test_what_is_missing_is_told(folder, name):
    (folder / name).unlink()
    with pytest.raises(HemlineError, match=rf"{Path(name).name} is missing"):
        read_parent(folder)


def test_a_damaged_graph_has_no_hash(folder):
    """By which it would become another one's ancestor."""
    flip_a_bit(folder / PARENT_PACKAGE / NETWORK_FILE)
    with pytest.raises(HemlineError, match=r"network\.pt2 is damaged"):
        read_parent(folder).ancestors(["sleeve"])


def test_the_first_ancestor_is_the_parent_by_its_graph_itself(folder, example):
    """Whatever the file says that names it; of its attributes, those that the child knows."""
    graph = files.sha256(example.package.folder / NETWORK_FILE)
    assert read_parent(folder).ancestors(["hem", "neck|line", "sleeve"]) == (
        Ancestor(name="shop", version=7, graph_sha256=graph, attributes=("sleeve", "neck|line")),
    )
    assert read_parent(folder).ancestors([])[0].attributes == ()


class Constant(nn.Module):
    """A network that gives its version's number."""

    pixel_statistics = IMAGENET_PIXELS

    def __init__(self, number: int) -> None:
        super().__init__()
        self.register_buffer("number", torch.tensor(float(number)))

    def forward(self, _: Tensor, attributes_BK: Tensor) -> Tensor:
        return (attributes_BK * self.number)[..., None]


def of(number: int, package: Package) -> Parent:
    return Parent(version=RegisteredVersion(name="hemline", version=number), package=package)


def test_a_line_of_versions_remembers_what_each_shares_with_the_last(tmp_path):
    """An attribute that one of them left out and the next one has again is another one."""
    packages: list[Package] = []
    generations = (["a", "b", "c"], ["a", "b", "d"], ["d", "a", "c"], ["b", "c", "d", "a"])
    for number, names in enumerate(generations):
        write_package(
            Constant(number),
            tmp_path / str(number),
            schema=AttributeSchema(
                dataset="line", attributes=tuple(Attribute(name=name) for name in names)
            ),
            image_size_px=64,
            ancestors=of(number, packages[-1]).ancestors(names) if packages else (),
        )
        packages.append(read_package(tmp_path / str(number)))
    shared = [
        {ancestor.version: ancestor.attributes for ancestor in package.ancestors}
        for package in packages
    ]
    assert shared == [
        {},
        {1: ("a", "b")},
        {2: ("a", "d"), 1: ("a",)},  # c came back
        {3: ("d", "a", "c"), 2: ("a", "d"), 1: ("a",)},  # and b
    ]
    for package in packages:
        graphs = [each.graph_sha256 for each in package.ancestors]
        before = packages[: packages.index(package)]
        assert graphs == [each.graph_sha256 for each in reversed(before)], "nearest first"


def test_an_ancestor_has_the_address_that_it_was_grown_at():
    ancestor = Ancestor(name="shop", version=3, graph_sha256="f" * 64, attributes=("hem",))
    assert ancestor.uri == "models:/shop/3"
    assert Ancestor.from_dict(json.loads(json.dumps(asdict(ancestor)))) == ancestor
