"""The package in use: attention maps, one network per package, other devices and processes."""

import pickle
import shutil
import zipfile

import numpy as np
import pytest
import torch
from builders import flip_a_bit, noise
from torch import Tensor, nn

from components import files
from components.errors import HemlineError
from components.images.transforms import normalise
from components.networks import IMAGENET_PIXELS
from components.registry import pt2
from components.registry.graph import write_package
from components.registry.package import (
    NETWORK_FILE,
    PACKAGE_FILE,
    Ancestor,
    Lineage,
    Package,
    read_package,
)

NAMES = ["neck|line", "sleeve"]
ASKED_1K = torch.tensor([[2, 0]])
FLOAT32 = {"rtol": 1e-4, "atol": 1e-6}  # sums in another order


class Flat(nn.Module):
    """A network without spatial attention."""

    pixel_statistics = IMAGENET_PIXELS

    def forward(self, images_B3SS: Tensor, attributes_BK: Tensor) -> Tensor:
        means_B3 = images_B3SS.mean(dim=(2, 3))
        return means_B3[:, None] * attributes_BK[..., None]


@pytest.fixture(scope="module")
def pixels() -> np.ndarray:
    return np.asarray(noise(64, 64))


def test_the_maps_are_the_networks_own(example, pixels) -> None:
    images = normalise(torch.from_numpy(pixels.copy())[None], IMAGENET_PIXELS)
    with torch.inference_mode():
        expected = example.network.spatial_attention(images, ASKED_1K)[0].numpy()
    maps = example.package.attend(pixels, NAMES)
    assert maps.shape == (2, 4, 4)
    np.testing.assert_allclose(maps, expected, **FLOAT32)


def test_the_network_attends_once_and_is_left_as_it_was(example, tmp_path, monkeypatch) -> None:
    calls = []
    kind = type(example.network)
    attend = kind.attend

    def counted(self, features, attributes):
        calls.append(1)
        return attend(self, features, attributes)

    monkeypatch.setattr(kind, "attend", counted)
    write_package(example.network, tmp_path, schema=example.package.schema, image_size_px=64)
    assert len(calls) == 1
    assert "attend" not in vars(example.network)


def test_a_network_without_attention_gives_no_maps(example, pixels, tmp_path) -> None:
    write_package(Flat(), tmp_path, schema=example.package.schema, image_size_px=64)
    package = read_package(tmp_path)
    assert package.attend(pixels, NAMES) is None
    assert package.embed_each(pixels, ["skirt"])["skirt"].shape == (3,)


def test_an_attribute_that_is_not_known_is_an_error(example, pixels) -> None:
    for ask in (example.package.embed_each, example.package.attend):
        with pytest.raises(HemlineError, match="no attribute 'hem'; there are sleeve, skirt"):
            ask(pixels, ["hem"])


def test_the_network_is_loaded_once_and_not_pickled(example, pixels, monkeypatch) -> None:
    package = read_package(example.package.folder)
    loads = []
    load = Package.load_network
    monkeypatch.setattr(Package, "load_network", lambda self: loads.append(1) or load(self))
    vectors = [package.embed_each(pixels, ["skirt"])["skirt"] for _ in range(2)]
    package.attend(pixels, NAMES)
    assert len(loads) == 1
    other = pickle.loads(pickle.dumps(package))
    assert other == package
    np.testing.assert_array_equal(other.embed_each(pixels, ["skirt"])["skirt"], vectors[1])
    assert len(loads) == 2


def test_a_flipped_bit_of_the_graph_is_found(example, pixels, tmp_path) -> None:
    shutil.copytree(example.package.folder, tmp_path / "copy")
    flip_a_bit(tmp_path / "copy" / NETWORK_FILE, share=0.9)
    with pytest.raises(HemlineError, match=r"network\.pt2 is damaged"):
        read_package(tmp_path / "copy").embed_each(pixels, ["skirt"])
    content = files.read_json(example.package.folder / PACKAGE_FILE)
    del content["crc32"]
    files.write_json(content, tmp_path / "copy" / PACKAGE_FILE)
    assert read_package(tmp_path / "copy").crc32 is None, "as of an older hemline"


@pytest.mark.parametrize("share", [0.4, 0.7, 0.9])
def test_flipped_bits_of_the_prototypes_are_found(example, tmp_path, share: float) -> None:
    shutil.copytree(example.package.folder, tmp_path / "copy")
    package = read_package(tmp_path / "copy")
    package.check()
    flip_a_bit(package.prototypes, share=share)
    with pytest.raises(HemlineError, match=r"prototypes\.parquet is damaged.*fetch the version"):
        package.check()


def test_everything_moves_to_the_device(example) -> None:
    """Constants too: on `meta`, which stands for a GPU here, nothing may be left on the CPU."""
    network = example.package.load_network("meta")
    pixels = torch.zeros(3, 64, 64, 3, dtype=torch.uint8, device="meta")
    asked = torch.zeros(3, 2, dtype=torch.int64, device="meta")
    assert {tensor.device.type for tensor in network.state_dict().values()} == {"meta"}
    made = [node for node in network.graph.graph.nodes if "device" in node.kwargs]
    assert made
    assert {torch.device(node.kwargs["device"]).type for node in made} == {"meta"}
    assert network(pixels, asked).device.type == "meta"
    assert network.with_maps(pixels, asked)[1].device.type == "meta"
    served = pt2.load(example.package.folder / NETWORK_FILE, "meta")
    assert [each.device.type for each in served(pixels, asked)] == ["meta", "meta"]


class Regrouped(nn.Module):
    """A network that calculates with the number of images, as some of timm's do."""

    pixel_statistics = IMAGENET_PIXELS

    def forward(self, images_B3SS: Tensor, attributes_BK: Tensor) -> Tensor:
        num_images = images_B3SS.shape[0]
        colours = images_B3SS.contiguous().reshape(3 * num_images, -1)
        means_B3 = colours.mean(dim=1).reshape(num_images, 3)
        return means_B3[:, None] * attributes_BK[..., None]


@pytest.mark.parametrize("is_read", [True, False])
def test_what_is_calculated_of_sizes_is_served(tmp_path, example, monkeypatch, is_read) -> None:
    """And where there is something in a graph that is not read, torch.export reads it."""
    network = Regrouped()
    write_package(network, tmp_path, schema=example.package.schema, image_size_px=64)
    if not is_read:
        monkeypatch.setattr(pt2, "_OF_SIZES", {})
    served = pt2.load(tmp_path / NETWORK_FILE, "cpu")
    assert isinstance(served, pt2.Graph) is is_read
    for num_images in (1, 3):
        generator = torch.Generator().manual_seed(2)
        shape = (num_images, 64, 64, 3)
        pixels = torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8)
        asked = torch.tensor([[1, 2]]).expand(num_images, -1)
        expected = network(normalise(pixels, IMAGENET_PIXELS), asked)
        torch.testing.assert_close(served(pixels, asked), expected, **FLOAT32)


def test_the_file_is_the_same_wherever_it_is_written(example) -> None:
    """In another checkout, the same weights are the same version: it names no path of this one."""
    with zipfile.ZipFile(example.package.folder / NETWORK_FILE) as archive:
        content = b"".join(archive.read(name) for name in archive.namelist())
    assert b".py" not in content


def ancestor(sha256: str, *attributes: str) -> Ancestor:
    return Ancestor(name="hemline", version=1, graph_sha256=sha256, attributes=attributes)


def lineage(sha256: str, *attributes: str, ancestors: tuple[Ancestor, ...] = ()) -> Lineage:
    return Lineage(graph_sha256=sha256, attributes=attributes, ancestors=ancestors)


@pytest.mark.parametrize(
    ("other", "shared"),
    [
        (lineage("child", "b", "c"), ("b", "c")),  # itself, of some attributes
        (lineage("parent", "a", "b"), ("a", "b")),
        (lineage("parent", "b"), ("b",)),
        (lineage("sibling", "b", "a", ancestors=(ancestor("parent", "a", "b"),)), ("a", "b")),
        (lineage("sibling", "d", "b", ancestors=(ancestor("parent", "b"),)), ("b",)),
        (lineage("sibling", "b", ancestors=(ancestor("parent", "a", "b"),)), ("b",)),
        (lineage("grandchild", "c", "d", ancestors=(ancestor("child", "c"),)), ("c",)),
        (lineage("stranger", "a", "b", "c"), ()),
    ],
)
def test_relatives_share_what_one_version_knows_of_both(other, shared) -> None:
    child = lineage("child", "a", "b", "c", ancestors=(ancestor("parent", "a", "b"),))
    assert child.shared_with(other) == shared
    assert {*other.shared_with(child)} == {*shared}


def test_a_package_names_its_ancestors(example, tmp_path) -> None:
    parents = (ancestor("p" * 64, "sleeve", "skirt"), ancestor("g" * 64, "skirt"))
    write_package(
        Flat(), tmp_path, schema=example.package.schema, image_size_px=64, ancestors=parents
    )
    package = read_package(tmp_path)
    assert package.ancestors == package.lineage.ancestors == parents
    assert package.lineage.graph_sha256 == package.graph_sha256
    assert package.lineage.shared_with(lineage("g" * 64, "skirt", "hem")) == ("skirt",)


def test_what_its_network_is_built_from_comes_back_as_it_was(example, tmp_path) -> None:
    """And an older hemline's package says neither that nor what it was grown from."""
    description = {
        "model": {"name": "asen", "pixel_mean": [0.1, 0.2, 0.3], "asa": None, "embedding_dim": 16},
        "grown": {"known": ["skirt", None], "probes": {"sleeve": {"num_outputs": 2}}},
    }
    write_package(
        Flat(),
        tmp_path,
        schema=example.package.schema,
        image_size_px=64,
        ancestors=[ancestor("p" * 64, "skirt")],
        description=description,
    )
    assert read_package(tmp_path).description == description
    content = files.read_json(tmp_path / PACKAGE_FILE)
    del content["description"], content["ancestors"]
    files.write_json(content, tmp_path / PACKAGE_FILE)
    older = read_package(tmp_path)
    assert (older.description, older.ancestors) == (None, ())
    assert example.package.description is None, "what says nothing is read as nothing"
