"""Packages of which each was grown from the one before, and what it takes to embed with them."""

from collections import Counter
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
import torch
from embedding_runs import PARAMS, SIZE_PX
from torch import Tensor, nn

from components.attributes import Attribute, AttributeSchema
from components.embedding.embeddings import Embeddings
from components.embedding.file_source import list_files
from components.embedding.job import embed_all
from components.embedding.part_files import numbered_images
from components.networks import IMAGENET_PIXELS
from components.params import EmbedParams
from components.registry.graph import load_graph, write_package
from components.registry.package import NETWORK_FILE, Ancestor, Package, read_package

HERE = replace(PARAMS, num_workers=0)
VERSION_OF = {"parent": 1, "child": 2, "grandchild": 3, "without collar": 4, "stranger": 5}


class Colours(nn.Module):
    """Embeds an image's mean colours by a map of each attribute's own, whatever its number."""

    pixel_statistics = IMAGENET_PIXELS

    def __init__(self, *seeds: int) -> None:
        super().__init__()
        drawn = [torch.randn(3, 4, generator=torch.Generator().manual_seed(s)) for s in seeds]
        self.maps = nn.Parameter(torch.stack(drawn))

    def forward(self, images_n3SS: Tensor, attributes_nK: Tensor) -> Tensor:
        colours_n13 = images_n3SS.mean((2, 3))[:, None, :, None]
        return nn.functional.normalize((colours_n13 * self.maps[attributes_nK]).sum(2), dim=-1)


def write_grown(folder: Path) -> dict[str, Package]:
    """Returns a package, one that was grown from it, and one that was grown from that one.

    Another one was grown from the first, and dropped an attribute. The last is no relative.
    """
    seed_of = {"collar": 0, "hem / cuff": 1, "sleeve": 2, "pocket": 3}
    packages: dict[str, Package] = {}

    def write(name: str, attributes: Sequence[str], *parents: str, seed: int = 0) -> None:
        """Writes a package that was grown from others, nearest first."""
        made = tuple(Attribute(name=each, values=("a", "b")) for each in attributes)
        ancestors = [
            Ancestor(
                name="hemline",
                version=VERSION_OF[parent],
                graph_sha256=packages[parent].graph_sha256,
                attributes=tuple(x for x in packages[parent].schema.names if x in attributes),
            )
            for parent in parents
        ]
        write_package(
            Colours(*(seed + seed_of[each] for each in attributes)),
            folder / name,
            schema=AttributeSchema(dataset="noise", attributes=made),
            image_size_px=SIZE_PX,
            ancestors=ancestors,
        )
        packages[name] = read_package(folder / name)

    write("parent", ["collar", "hem / cuff"])
    write("child", ["collar", "hem / cuff", "sleeve"], "parent")
    write("grandchild", ["collar", "hem / cuff", "sleeve", "pocket"], "child", "parent")
    write("without collar", ["hem / cuff", "sleeve"], "parent")
    write("stranger", ["collar", "hem / cuff"], seed=9)
    return packages


class Counted(nn.Module):
    """A package's network, which counts what it is asked for by attribute."""

    def __init__(self, package: Package, counts: Counter[str]) -> None:
        super().__init__()
        self._network, self._names = _loaded(package.folder), package.schema.names
        self._counts = counts

    def forward(self, pixels_nSS3: Tensor, attributes_nK: Tensor) -> Tensor:
        self._counts.update(self._names[number] for number in attributes_nK.flatten().tolist())
        return self._network(pixels_nSS3, attributes_nK)


@cache
def _loaded(folder: Path) -> nn.Module:
    return load_graph(folder / NETWORK_FILE, "cpu")


class Embedding:
    """Embeds with packages, and counts the images that their networks are asked for."""

    def __init__(self, packages: dict[str, Package], patch: pytest.MonkeyPatch) -> None:
        self.packages = packages
        self._counts: Counter[str] = Counter()
        patch.setattr(Package, "load_network", lambda package, _: Counted(package, self._counts))

    def __call__(
        self,
        name: str,
        images: Path,
        out: Path,
        *,
        attributes: Sequence[str] | None = None,
        earlier: Sequence[Path] = (),
        params: EmbedParams = HERE,
        package: Package | None = None,
    ) -> dict[str, int]:
        """Embeds a folder of images and returns of how many, by attribute."""
        self._counts.clear()
        self.made = embed_all(
            list_files(str(images), numbered=numbered_images(out)),
            package or self.packages[name],
            out,
            model_name="hemline",
            model_version=VERSION_OF[name],
            params=params,
            ray_session=lambda **_: nullcontext(),
            progress=nullcontext(lambda _: None),
            attributes=attributes,
            earlier=earlier,
        )
        return dict(self._counts)

    made: Embeddings
