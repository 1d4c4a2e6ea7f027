"""A small network, its package, and pictures, for the tests of what is registered; a silent S3."""

import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass

import fsspec
import numpy as np
import pytest
import torch
from builders import encoded, noise, random_prototypes
from s3fs import S3FileSystem

from components.attributes import Attribute, AttributeSchema
from components.images.decode import decode
from components.images.transforms import normalise
from components.models.build import build_model
from components.models.network import EmbeddingNetwork
from components.networks import IMAGENET_PIXELS
from components.prototypes.prototypes import write_prototypes
from components.registry.graph import write_package
from components.registry.package import Package, read_package
from components.tables import PROTOTYPES_FILE

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
            return self.network(normalise(torch.from_numpy(pixels), IMAGENET_PIXELS), asked).numpy()


@pytest.fixture(scope="session")
def example(tmp_path_factory: pytest.TempPathFactory) -> Example:
    """A network that attends, with weights of no training."""
    torch.manual_seed(4)
    network = build_model(
        name="asen",
        num_values=SCHEMA.num_values,
        backbone="tiny",
        weights="none",
        embedding_dim=16,
        attention_dim=8,
        normalise_features=True,
    ).eval()
    folder = tmp_path_factory.mktemp("package")
    prototypes = tmp_path_factory.mktemp("made") / PROTOTYPES_FILE
    write_prototypes(random_prototypes(SCHEMA, dim=16), prototypes)
    write_package(
        network, folder, schema=SCHEMA, image_size_px=IMAGE_SIZE_PX, prototypes=prototypes
    )
    return Example(network=network, package=read_package(folder))


@pytest.fixture(scope="session")
def pictures() -> list[bytes]:
    """Image files of several formats and sizes, none of them the network's."""
    files = [encoded(noise(90, 70, seed=seed), "JPEG") for seed in range(24)]
    files += [encoded(noise(200, 300, seed=seed), "JPEG") for seed in range(24, 36)]
    return [*files, *(encoded(noise(65, 80, seed=seed), "PNG") for seed in range(36, 40))]


@pytest.fixture
def silent_s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of an S3 that takes connections and never answers; fails tests that wait long."""

    class Impatient(S3FileSystem):
        read_timeout, retries = 1, 1

    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "x")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "2")  # as all commands set it
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    fsspec.register_implementation("s3", Impatient, clobber=True)
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"http://127.0.0.1:{server.getsockname()[1]}"
        monkeypatch.setenv("AWS_ENDPOINT_URL", address)
        start = time.monotonic()
        yield address
        took_s = time.monotonic() - start
    fsspec.register_implementation("s3", S3FileSystem, clobber=True)
    assert took_s < 20
