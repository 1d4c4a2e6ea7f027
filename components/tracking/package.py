"""The self-contained model: an exported graph from pixels to embeddings, and what it knows."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from components import files
from components.attributes import AttributeSchema
from components.images.transforms import normalise

NETWORK_FILE = "network.pt2"
PACKAGE_FILE = "package.json"


class PixelsToEmbeddings(nn.Module):
    """A network with its normalisation in front.

    Shape letters: B images, S side in pixels, K attributes per image, D embedding.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, pixels_BSS3: Tensor, attributes_BK: Tensor) -> Tensor:
        """Returns embeddings [B, K, D] of uint8 pixels."""
        embeddings: Tensor = self.network(normalise(pixels_BSS3), attributes_BK)
        return embeddings


@dataclass(frozen=True, kw_only=True)
class Package:
    """A model package that was written or downloaded.

    Attributes:
        folder: with the two files.
        schema: attributes that the network knows.
        image_size_px: side of the pixels that it takes.
    """

    folder: Path
    schema: AttributeSchema
    image_size_px: int

    def load_network(self) -> nn.Module:
        """Returns the network from pixels to embeddings, on the CPU."""
        module: nn.Module = torch.export.load(self.folder / NETWORK_FILE).module()
        return module

    def embed(self, pixels_SS3: NDArray[np.uint8], attribute: str) -> NDArray[np.float32]:
        """Returns the embedding [D] of one image's pixels for one attribute.

        Raises:
            HemlineError: the network does not know the attribute.
        """
        return self.embed_each(pixels_SS3, [attribute])[attribute]

    def embed_each(
        self, pixels_SS3: NDArray[np.uint8], attributes: Sequence[str]
    ) -> dict[str, NDArray[np.float32]]:
        """Returns the embedding [D] of one image's pixels for each attribute, in one pass.

        Raises:
            HemlineError: the network does not know an attribute.
        """
        asked_1K = torch.tensor([[self.schema.index(attribute) for attribute in attributes]])
        with torch.inference_mode():
            embeddings_1KD = self.load_network()(torch.tensor(pixels_SS3)[None], asked_1K)
        return dict(zip(attributes, embeddings_1KD[0].numpy(), strict=True))


def write_package(
    network: nn.Module, folder: Path, *, schema: AttributeSchema, image_size_px: int
) -> None:
    """Exports a network, for any number of images and of attributes per image."""
    folder.mkdir(parents=True, exist_ok=True)
    # two of each: an example of one would fix that dimension
    pixels = torch.zeros(2, image_size_px, image_size_px, 3, dtype=torch.uint8)
    attributes = torch.zeros(2, 2, dtype=torch.int64)
    batch, asked = torch.export.Dim("images"), torch.export.Dim("attributes")
    exported = torch.export.export(
        PixelsToEmbeddings(network).eval(),
        (pixels, attributes),
        dynamic_shapes=({0: batch}, {0: batch, 1: asked}),
    )
    with files.replacing(folder / NETWORK_FILE) as temporary, temporary.open("wb") as file:
        torch.export.save(exported, file)
    content: dict[str, Any] = {"image_size_px": image_size_px, "schema": schema.as_dict()}
    files.write_json(content, folder / PACKAGE_FILE)


def read_package(folder: Path) -> Package:
    """Returns the package in a folder."""
    content = files.read_json(folder / PACKAGE_FILE)
    return Package(
        folder=folder,
        schema=AttributeSchema.from_dict(content["schema"]),
        image_size_px=content["image_size_px"],
    )
