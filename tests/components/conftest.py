"""A small network, its package, and pictures, for the tests of what is registered."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from builders import encoded, noise

from components.attributes import Attribute, AttributeSchema
from components.images.decode import decode
from components.images.transforms import normalise
from components.models.build import build_model
from components.models.network import EmbeddingNetwork
from components.registry.graph import write_package
from components.registry.package import Package, read_package

IMAGE_SIZE_PX = 64
SCHEMA = AttributeSchema(
    dataset="noise",
    attributes=tuple(
        Attribute(name=name, values=("short", "long")) for name in ("sleeve", "skirt", "neck|line")
    ),
)


@dataclass(frozen=True, kw_only=True)
class Example:
    """A network and the package that was made of it."""

    network: EmbeddingNetwork
    package: Package

    def embeddings(self, pictures: list[bytes]) -> np.ndarray:
        """Returns what the network itself gives for image files [files, attributes, D]."""
        pixels = np.stack([decode(data, image_size_px=IMAGE_SIZE_PX) for data in pictures])
        asked = torch.arange(len(SCHEMA.attributes)).expand(len(pictures), -1)
        with torch.inference_mode():
            return self.network(normalise(torch.from_numpy(pixels)), asked).numpy()


@pytest.fixture(scope="session")
def example(tmp_path_factory: pytest.TempPathFactory) -> Example:
    """A network that attends, with weights of no training."""
    torch.manual_seed(4)
    network = build_model(
        name="asen",
        num_attributes=len(SCHEMA.attributes),
        backbone="tiny",
        weights="none",
        embedding_dim=16,
        attention_dim=8,
        normalise_features=True,
    ).eval()
    folder = tmp_path_factory.mktemp("package")
    write_package(network, folder, schema=SCHEMA, image_size_px=IMAGE_SIZE_PX)
    return Example(network=network, package=read_package(folder))


@pytest.fixture(scope="session")
def pictures() -> list[bytes]:
    """Image files of several formats and sizes, none of them the network's."""
    files = [encoded(noise(90, 70, seed=seed), "JPEG") for seed in range(24)]
    files += [encoded(noise(200, 300, seed=seed), "JPEG") for seed in range(24, 36)]
    return [*files, *(encoded(noise(65, 80, seed=seed), "PNG") for seed in range(36, 40))]
