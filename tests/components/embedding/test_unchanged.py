"""The proof that growing changed nothing: equal bits are hashed, a single other bit is found."""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from growing import NUM_IMAGES, OLD, SIZE_PX, SMALL, Line, new_line, schema_of
from safetensors.torch import load_file
from torch import Tensor, nn

from components.embedding.unchanged import unchanged_sha256
from components.errors import HemlineError
from components.networks import IMAGENET_PIXELS
from components.params import EmbedParams
from components.registry.graph import Embedder, write_package
from components.registry.package import Inference, Package, read_package
from components.tables import PARENT_PACKAGE
from components.training.trained import WEIGHTS_FILE, read_description, rebuild

torch.set_num_threads(1)

IMAGES = np.arange(0, NUM_IMAGES, 3)  # 48
MODEL = replace(SMALL, name="csn")


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> Line:
    """Version 1 knows collar and sleeve, 2 was grown of it, and 3 of that, without sleeve."""
    line = new_line(tmp_path_factory.mktemp("line"), ["hem", "sleeve", "collar"])
    line.new_parent(1, model=MODEL, exported=True)
    line.grow(1, into=2, model=MODEL, exported=True)
    line.label(["collar", "pattern", "hem"])
    line.grow(2, into=3, model=MODEL, exported=True)
    return line


@pytest.fixture(autouse=True, scope="module")
def _loaded_once() -> Iterator[None]:
    """Loading a graph takes longer than all that is asked of it here."""
    loaded: dict[tuple[Path, Inference], Embedder] = {}
    load = Package.load_network
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            Package,
            "load_network",
            lambda self: (
                loaded.get((self.folder, self.inference))
                or loaded.setdefault((self.folder, self.inference), load(self))
            ),
        )
        yield


def package_of(line: Line, number: int) -> Package:
    return read_package(line.version(number) / PARENT_PACKAGE)


def proof(
    line: Line, child: Package, parent: Package, *, batch_size: int = 20, precision: str = "fp32"
) -> str:
    return unchanged_sha256(
        child,
        parent,
        line.store,
        IMAGES,
        params=EmbedParams(batch_size_per_worker=batch_size, precision=precision),
        parent_name="models:/hemline/1",
    )


def naive_batches(
    line: Line, package: Package, *, batch_size: int, precision: str
) -> Iterator[dict[str, list[bytes]]]:
    """Yields the bytes of each image's embedding by a package, for each attribute, by batches."""
    every = torch.arange(len(package.schema.names))
    network = package.load_network()
    for start in range(0, len(IMAGES), batch_size):
        pixels = torch.from_numpy(line.store.gather(IMAGES[start : start + batch_size]))
        with (
            torch.inference_mode(),
            torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"),
        ):
            found = network(pixels, every.expand(len(pixels), -1))
        if precision == "bf16":
            found = torch.nn.functional.normalize(found.float(), dim=-1)
        yield {
            name: [of_image[number].numpy().astype("<f4").tobytes() for of_image in found]
            for number, name in enumerate(package.schema.names)
        }


def naive_sha256(line: Line, package: Package, names: list[str], **how: Any) -> str:
    """Returns the hash of embeddings by a package, image by image."""
    found = b""
    for batch in naive_batches(line, package, **how):
        for of_image in zip(*(batch[name] for name in names), strict=True):
            found += b"".join(of_image)
    return hashlib.sha256(found).hexdigest()


def first_changed(line: Line, first: Package, second: Package, **how: Any) -> list[str]:
    """Returns the attributes that differ in the first batch where any does, in order."""
    names = [name for name in first.schema.names if name in second.schema.names]
    for ours, theirs in zip(
        naive_batches(line, first, **how), naive_batches(line, second, **how), strict=True
    ):
        if changed := [name for name in names if ours[name] != theirs[name]]:
            return changed
    return []


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize(
    ("child", "parent", "shared"),
    [(2, 1, ["sleeve", "collar"]), (3, 2, ["collar", "hem"]), (3, 1, ["collar"])],
)
def test_it_is_the_hash_of_what_both_know_by_either_of_them(line, child, parent, shared, precision):
    """In the child's order; of a version that it was not grown from itself, too."""
    versions = [package_of(line, number) for number in (child, parent)]
    how = {"batch_size": 20, "precision": precision}
    found = proof(line, *versions, **how)
    for package in versions:
        assert found == naive_sha256(line, package, shared, **how)


def test_precision_and_images_make_another_hash(line):
    versions = package_of(line, 2), package_of(line, 1)
    fewer = unchanged_sha256(
        *versions,
        line.store,
        IMAGES[1:],
        params=EmbedParams(batch_size_per_worker=20, precision="fp32"),
        parent_name="a",
    )
    others = {proof(line, *versions, precision=precision) for precision in ("fp32", "bf16")}
    assert len({fewer, *others}) == 3


def test_what_shares_nothing_has_the_hash_of_nothing(line, tmp_path):
    line_of_others = new_line(tmp_path, ["pattern"])
    line_of_others.new_parent(1, ["pattern"], model=MODEL, exported=True)
    found = proof(line, package_of(line_of_others, 1), package_of(line, 1))
    assert found == hashlib.sha256().hexdigest()


Change = Callable[[dict[str, torch.Tensor]], None]


def last_bit_of(name: str, *place: int) -> Change:
    """Returns what flips the last bit of the mantissa of one weight."""

    def change(weights: dict[str, torch.Tensor]) -> None:
        weights[name].view(torch.int32)[place] ^= 1

    return change


CHANGES = {
    "of the backbone": last_bit_of("backbone.to_second_stage.0.0.weight", 3, 1, 1, 1),
    "of the last layer": last_bit_of("linear.bias", 5),
    "of one attribute": last_bit_of("masks.beta", 1, 12),
}


@pytest.mark.parametrize("place", CHANGES)
def test_one_other_bit_of_one_weight_is_found_and_what_it_changes_is_named(line, tmp_path, place):
    """Whatever the batches are, of one image or of all."""
    folder = line.version(1)
    weights = load_file(folder / WEIGHTS_FILE)
    before = {name: tensor.clone() for name, tensor in weights.items()}
    CHANGES[place](weights)
    assert sum(int((weights[n] != tensor).sum()) for n, tensor in before.items()) == 1
    network = rebuild(read_description(folder), schema_of(OLD), weights)
    write_package(network, tmp_path, schema=schema_of(OLD), image_size_px=SIZE_PX)
    child, parent, other = package_of(line, 2), package_of(line, 1), read_package(tmp_path)
    for batch_size in (1, 20, 64):
        how = {"batch_size": batch_size, "precision": "fp32"}
        proof(line, child, parent, **how)
        for pair in ((child, other), (other, parent)):
            changed = first_changed(line, *pair, **how)
            assert changed == ["sleeve"] if place == "of one attribute" else changed
            with pytest.raises(HemlineError, match=said(changed)):
                proof(line, *pair, **how)


def said(names: list[str]) -> str:
    return rf"^embeddings of {', '.join(names)} are not those of models:/hemline/1: "


class Table(nn.Module):
    """A network whose embeddings are given, whatever the image is."""

    pixel_statistics = IMAGENET_PIXELS

    def __init__(self, *vectors: tuple[float, ...]) -> None:
        super().__init__()
        self.register_buffer("vectors_ND", torch.tensor(vectors))

    def forward(self, _: Tensor, attributes_BK: Tensor) -> Tensor:
        return self.vectors_ND[attributes_BK]


def test_a_zero_of_another_sign_is_another_bit(line, tmp_path):
    """Which comparing numbers would not find; a mask's zeros have the signs of what it masks."""
    packages = []
    for zero in (0.0, -0.0):
        network, folder = Table((1.0, 0.0), (zero, 1.0)), tmp_path / str(zero)
        write_package(network, folder, schema=schema_of(OLD), image_size_px=SIZE_PX)
        packages.append(read_package(folder))
    proof(line, packages[0], packages[0])
    with pytest.raises(HemlineError, match=said(["sleeve"])):
        proof(line, *packages)


def test_progress_counts_every_image(line):
    counted: list[int] = []
    unchanged_sha256(
        package_of(line, 2),
        package_of(line, 1),
        line.store,
        IMAGES,
        params=EmbedParams(batch_size_per_worker=20, precision="fp32"),
        parent_name="a",
        on_progress=counted.append,
    )
    assert counted == [20, 20, 8]
