"""The self-contained model: an exported graph from pixels to embeddings, and what it knows."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.export.passes import move_to_device_pass

from components import files
from components.attributes import AttributeSchema
from components.images.transforms import normalise

NETWORK_FILE = "network.pt2"
PACKAGE_FILE = "package.json"


class PixelsToEmbeddings(nn.Module):
    """A network with its normalisation in front; what is exported.

    Shape letters: B images, S side in pixels, K attributes per image, D embedding, H W positions of
    the attention maps.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, pixels_BSS3: Tensor, attributes_BK: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        """Returns embeddings [B, K, D] of uint8 pixels, and the maps that led to them [B, K, H, W].

        The embeddings alone where the network has no maps.
        """
        with _watching(self.network) as maps:
            embeddings: Tensor = self.network(normalise(pixels_BSS3), attributes_BK)
        return (embeddings, maps[-1]) if maps else embeddings


class Embedder(nn.Module):
    """An exported graph, of which embeddings are wanted."""

    def __init__(self, graph: nn.Module) -> None:
        super().__init__()
        self.graph = graph

    def forward(self, pixels_BSS3: Tensor, attributes_BK: Tensor) -> Tensor:
        """Returns embeddings [B, K, D] of uint8 pixels."""
        found: Tensor | tuple[Tensor, Tensor] = self.graph(pixels_BSS3, attributes_BK)
        return found if isinstance(found, Tensor) else found[0]

    def attend(self, pixels_BSS3: Tensor, attributes_BK: Tensor) -> Tensor | None:
        """Returns where the network looks [B, K, H, W]; None where it cannot say."""
        found: Tensor | tuple[Tensor, Tensor] = self.graph(pixels_BSS3, attributes_BK)
        return None if isinstance(found, Tensor) else found[1]


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

    def __reduce__(self) -> tuple[Any, ...]:
        return read_package, (self.folder,)  # without the loaded network: other processes read it

    def load_network(self, device: str = "cpu") -> Embedder:
        """Returns the network from pixels to embeddings, on a device."""
        exported = torch.export.load(self.folder / NETWORK_FILE)
        # the graph makes tensors on the device it was exported on: moving weights is not enough
        return Embedder(move_to_device_pass(exported, device).module())

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
        asked_1K = self._asked(attributes)
        with torch.inference_mode():
            embeddings_1KD = self._network(torch.tensor(pixels_SS3)[None], asked_1K)
        return dict(zip(attributes, embeddings_1KD[0].numpy(), strict=True))

    def attend(
        self, pixels_SS3: NDArray[np.uint8], attributes: Sequence[str]
    ) -> NDArray[np.float32] | None:
        """Returns where the network looks in one image for each attribute [K, H, W].

        None where the network has no spatial attention, or was exported without it.

        Raises:
            HemlineError: the network does not know an attribute.
        """
        asked_1K = self._asked(attributes)
        with torch.inference_mode():
            maps_1KHW = self._network.attend(torch.tensor(pixels_SS3)[None], asked_1K)
        return None if maps_1KHW is None else maps_1KHW[0].numpy()

    @cached_property
    def _network(self) -> Embedder:
        return self.load_network()

    def _asked(self, attributes: Sequence[str]) -> Tensor:
        return torch.tensor([[self.schema.index(attribute) for attribute in attributes]])


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


@contextmanager
def _watching(network: nn.Module) -> Iterator[list[Tensor]]:
    """Gives a list that gets the maps which the network attends by while the block lasts.

    They are made on the way to the embeddings: asking for them would make them a second time.
    """
    maps: list[Tensor] = []
    attend = getattr(network, "attend", None)
    if attend is None:
        yield maps
        return

    def watched(features: Tensor, attributes: Tensor) -> Tensor:
        maps.append(attend(features, attributes))
        return maps[-1]

    network.attend = watched  # type: ignore[assignment] # hides the method, until it is deleted
    try:
        yield maps
    finally:
        del network.attend
