"""The exported graph of a package: written from a network, and loaded without its code."""

import shutil
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.export import ExportedProgram
from torch.export.passes import move_to_device_pass
from torch.nn import functional

from components import files
from components.attributes import AttributeSchema
from components.images.transforms import normalise
from components.networks import PixelStatistics
from components.registry.package import (
    NETWORK_FILE,
    PACKAGE_FILE,
    QUANTISED_FILE,
    QUANTISED_WEIGHTS_FILE,
    Ancestor,
)
from components.tables import PROTOTYPES_FILE


class PixelsToEmbeddings(nn.Module):
    """A network with its normalisation in front; what is exported.

    Shape letters: B images, S side in pixels, K attributes per image, D embedding, H W positions of
    the attention maps.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.statistics = cast(PixelStatistics, network.pixel_statistics)

    def forward(self, pixels_BSS3: Tensor, attributes_BK: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        """Returns embeddings [B, K, D] of uint8 pixels, and the maps that led to them [B, K, H, W].

        The embeddings alone where the network has no maps.
        """
        forward = getattr(self.network, "forward_with_maps", self.network)
        return forward(normalise(pixels_BSS3, self.statistics), attributes_BK)


class Embedder(nn.Module):
    """A graph from pixels to embeddings, with or without attention maps.

    With `is_bf16`, torch calculates in bf16 where that loses little.
    """

    def __init__(self, graph: nn.Module, *, is_bf16: bool = False) -> None:
        super().__init__()
        self.graph = graph
        self.is_bf16 = is_bf16

    def forward(self, pixels_BSS3: Tensor, attributes_BK: Tensor) -> Tensor:
        """Returns embeddings [B, K, D] of uint8 pixels."""
        return self.with_maps(pixels_BSS3, attributes_BK)[0]

    def with_maps(self, pixels_BSS3: Tensor, attributes_BK: Tensor) -> tuple[Tensor, Tensor | None]:
        """Returns the embeddings, and where the network looks [B, K, H, W]; None without maps."""
        device = pixels_BSS3.device.type
        with torch.autocast(device, torch.bfloat16) if self.is_bf16 else nullcontext():
            found = self.graph(pixels_BSS3, attributes_BK)
        embeddings_BKD, maps_BKHW = (found, None) if isinstance(found, Tensor) else found
        if self.is_bf16:  # a version that hemline 0.1 exported has lengths of 0.996 to 1.004
            embeddings_BKD = functional.normalize(embeddings_BKD.float(), dim=-1)
            maps_BKHW = None if maps_BKHW is None else maps_BKHW.float()
        return embeddings_BKD, maps_BKHW

    def of_image(
        self, pixels_SS3: NDArray[np.uint8], attributes: list[int]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
        """Returns the embeddings [K, D] and maps [K, H, W] of one image, on the CPU."""
        pixels_1SS3, attributes_1K = torch.tensor(pixels_SS3)[None], torch.tensor([attributes])
        with torch.inference_mode():
            embeddings_1KD, maps_1KHW = self.with_maps(pixels_1SS3, attributes_1K)
        return embeddings_1KD[0].numpy(), None if maps_1KHW is None else maps_1KHW[0].numpy()


def write_package(
    network: nn.Module,
    folder: Path,
    *,
    schema: AttributeSchema,
    image_size_px: int,
    crop: str = "centre",
    prototypes: Path | None = None,
    ancestors: Sequence[Ancestor] = (),
    description: Mapping[str, Any] | None = None,
    quantised: Path | None = None,
) -> None:
    """Exports a network, for any number of images and of attributes per image.

    `crop` is what its pictures show of their files: `preprocess.crop`. `prototypes` is the file of
    its prototypes, which is copied; None: it has none. `ancestors` are the versions that it was
    grown from, nearest first, and `description` is what it can be built again from. `quantised` is
    the folder of its graph in 8-bit integers, which is copied; None: it has none.
    """
    folder.mkdir(parents=True, exist_ok=True)
    exported = export(network, image_size_px=image_size_px)
    with files.replacing(folder / NETWORK_FILE) as temporary, temporary.open("wb") as file:
        torch.export.save(exported, file)
    crc32 = files.checksum(folder / NETWORK_FILE)
    content = {
        "image_size_px": image_size_px,
        "crop": crop,
        "crc32": crc32,
        "pixel_statistics": cast(PixelStatistics, network.pixel_statistics)._asdict(),
        "schema": schema.as_dict(),
        "ancestors": [asdict(ancestor) for ancestor in ancestors],
        "description": description,
    }
    if prototypes is not None:
        content["prototypes_crc32"] = _copy(prototypes, folder / PROTOTYPES_FILE)
    if quantised is not None:
        content["quantised_crc32"] = {
            name: _copy(quantised / name, folder / name)
            for name in (QUANTISED_FILE, QUANTISED_WEIGHTS_FILE)
        }
    files.write_sealed_json(content, folder / PACKAGE_FILE)


def _copy(source: Path, target: Path) -> str:
    """Copies a file and returns the checksum of the copy."""
    with files.replacing(target) as temporary:
        shutil.copyfile(source, temporary)
    return files.checksum(target)


def export(network: nn.Module, *, image_size_px: int) -> ExportedProgram:
    """Returns a network's graph, for any number of images and of attributes per image."""
    # two of each: an example of one would fix that dimension
    pixels = torch.zeros(2, image_size_px, image_size_px, 3, dtype=torch.uint8)
    attributes = torch.zeros(2, 2, dtype=torch.int64)
    batch, asked = torch.export.Dim("images"), torch.export.Dim("attributes")
    exported = torch.export.export(
        PixelsToEmbeddings(network).eval(),
        (pixels, attributes),
        dynamic_shapes=({0: batch}, {0: batch, 1: asked}),
    )
    for node in exported.graph.nodes:  # paths of this machine: the same network has the same bytes
        node.meta.pop("stack_trace", None)
    return exported


def load_graph(file: Path, device: str, *, is_bf16: bool = False) -> Embedder:
    """Returns the network from pixels to embeddings, on a device."""
    exported = torch.export.load(file)
    # the graph makes tensors on the device it was exported on: moving weights is not enough
    return Embedder(move_to_device_pass(exported, device).module(), is_bf16=is_bf16)


def read_weights(file: Path) -> dict[str, Tensor]:
    """Returns the parameters and buffers of the network that was exported, by their names in it."""
    weights = torch.export.load(file).state_dict
    return {name.removeprefix("network."): tensor for name, tensor in weights.items()}
