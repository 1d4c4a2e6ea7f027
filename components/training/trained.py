"""A trained network on disk: weights as safetensors, and what is needed to build it again.

The description of a network, in `model.json` and in packages, has the section `model` of its params
and, of one that was grown, what `grown` says: which attributes it knew, and its probes.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor
from zlib_ng import zlib_ng

from components import files
from components.attributes import AttributeSchema
from components.errors import HemlineError, command_line
from components.images.transforms import normalise
from components.models.ahbn import AHBN
from components.models.build import build_model
from components.models.fashionsearchnet import FashionSearchNetV2
from components.models.grown import ProbeShape, grown_network
from components.models.network import AttentionNetwork, EmbeddingNetwork
from components.networks import PixelStatistics

WEIGHTS_FILE = "weights.safetensors"
DESCRIPTION_FILE = "model.json"
_PIXELS = "pixel_statistics"  # metadata of a file of weights: one key, as several have no order


@dataclass(frozen=True, kw_only=True)
class TrainedModel:
    """A network with its best weights, in evaluation mode on the CPU.

    `crop` is what its pictures show of their files: `preprocess.crop`.
    """

    network: EmbeddingNetwork
    schema: AttributeSchema
    image_size_px: int
    crop: str = "centre"

    def embed(self, pixels_BSS3: Tensor, attributes_BK: Tensor) -> Tensor:
        """Returns embeddings [B, K, D] of uint8 pixels."""
        return self.network(self._seen(pixels_BSS3), attributes_BK)

    def attend(self, pixels_BSS3: Tensor, attributes_BK: Tensor) -> Tensor | None:
        """Returns where the network looks in uint8 pixels [B, K, H, W]; None where it cannot."""
        if not isinstance(self.network, AttentionNetwork):
            return None
        return self.network.spatial_attention(self._seen(pixels_BSS3), attributes_BK)

    def find_landmarks(self, pixels_BSS3: Tensor) -> Tensor | None:
        """Returns where the landmarks are in uint8 pixels [B, M, 2]; None where none are found.

        x and y as shares of the image's sides.
        """
        if not isinstance(self.network, AHBN):
            return None
        return self.network.find_landmarks(self._seen(pixels_BSS3))

    def locate(self, pixels_BSS3: Tensor, attributes_BK: Tensor) -> Tensor | None:
        """Returns the boxes that features are cut out of [B, K, 4]; None where none are.

        Left, top, right and bottom as shares of the image's sides.
        """
        if not isinstance(self.network, FashionSearchNetV2):
            return None
        return self.network.boxes(self._seen(pixels_BSS3), attributes_BK)

    def _seen(self, pixels_BSS3: Tensor) -> Tensor:
        """Returns uint8 pixels as the network takes them [B, 3, S, S]."""
        return normalise(pixels_BSS3, self.network.pixel_statistics)


def save_weights(network: EmbeddingNetwork, path: Path) -> None:
    """Writes a network's parameters and buffers, and its pixels' statistics, as safetensors.

    The file has a checksum of all that, which `load_weights` looks at.
    """
    state = {name: tensor.contiguous() for name, tensor in network.state_dict().items()}
    pixels = network.pixel_statistics
    about = {**pixels._asdict(), "crc32": _checksum(state, pixels)}
    with files.replacing(path) as temporary:
        save_file(state, temporary, {_PIXELS: json.dumps(about)})


def load_weights(path: Path) -> tuple[dict[str, Tensor], PixelStatistics]:
    """Returns what `save_weights` has written; an older hemline wrote no checksum.

    Raises:
        HemlineError: the file is damaged.
    """
    try:
        with safe_open(path, "pt") as file:
            about = json.loads(file.metadata()[_PIXELS])
        state, written = load_file(path), about.pop("crc32", None)
        pixels = PixelStatistics(mean=tuple(about["mean"]), std=tuple(about["std"]))
        if written not in (None, found := _checksum(state, pixels)):
            raise ValueError(f"CRC-32 {found}, written was {written}")
        return state, pixels
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        remedy = f"remove {path.parent} and train again, from the start"
        raise HemlineError(f"{path} is damaged ({error}): {remedy}") from error


def _checksum(state: Mapping[str, Tensor], pixels: PixelStatistics) -> str:
    value = zlib_ng.crc32(json.dumps(pixels).encode())
    for name, tensor in sorted(state.items()):
        value = zlib_ng.crc32(f"{name} {tensor.dtype} {[*tensor.shape]}".encode(), value)
        value = zlib_ng.crc32(tensor.cpu().reshape(-1).view(torch.uint8).numpy(), value)
    return f"{value:08x}"


def write_trained_model(
    folder: Path,
    weights: Path,
    *,
    description: Mapping[str, Any],
    schema: AttributeSchema,
    image_size_px: int,
    crop: str = "centre",
) -> None:
    """Copies weights into a folder and describes their network beside them.

    Raises:
        HemlineError: the weights are damaged.
    """
    _, pixels = load_weights(weights)
    with files.replacing(folder / WEIGHTS_FILE) as temporary:
        temporary.write_bytes(weights.read_bytes())
    content = {
        "crc32": files.checksum(folder / WEIGHTS_FILE),
        **description,
        "model": {
            **description["model"],
            "pixel_mean": pixels.mean,  # of the weights that training started from
            "pixel_std": pixels.std,
        },
        "schema": schema.as_dict(),
        "image_size_px": image_size_px,
        "crop": crop,
    }
    files.write_sealed_json(content, folder / DESCRIPTION_FILE)


def read_description(folder: Path) -> dict[str, Any]:
    """Returns what the network of the model in a folder can be built again from."""
    content = _read(folder)
    return {key: content[key] for key in ("model", "grown") if key in content}


def rebuild(
    description: Mapping[str, Any], schema: AttributeSchema, weights: Mapping[str, Tensor]
) -> EmbeddingNetwork:
    """Returns the network of a description, with these weights, in evaluation mode.

    The weights may be those of the network as it is exported, without what only training needs.
    """
    # the backbone's own weights are part of the trained ones
    numbers = {**description["model"], "weights": "none"}
    grown = description.get("grown")
    network: EmbeddingNetwork
    if grown is None:
        network = build_model(
            num_values=schema.num_listed, num_landmarks=len(schema.landmarks), **numbers
        )
        if weights.keys() != network.state_dict().keys():
            network = network.for_inference()
    else:
        known = grown["known"]
        # networks that can be grown ask for no number of values
        network = grown_network(
            build_model(num_values=[0] * len(known), **numbers).for_inference(),
            names=schema.names,
            known=known,
            probes={name: ProbeShape(**shape) for name, shape in grown["probes"].items()},
            embedding_dim=numbers["embedding_dim"],
        )
    network.load_state_dict(weights)
    return network.eval()


def trained_files(folder: Path) -> dict[Path, str | None]:
    """Returns the weights of the model in a folder, with their checksum; None: it has none."""
    return {folder / WEIGHTS_FILE: _read(folder).get("crc32")}


def _read(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = files.read_json(folder / DESCRIPTION_FILE, remedy=_remedy(folder))
    return content


def _remedy(folder: Path) -> str:
    checkout = command_line("dvc", "checkout", "--force", folder)
    return f"remove it; `{checkout}` brings it back, `dvc repro -f train` makes it"


def identity(folder: Path) -> str:
    """Returns a hash of weights and description of the model in a folder."""
    return files.content_key({}, [folder / WEIGHTS_FILE, folder / DESCRIPTION_FILE])


def read_trained_model(folder: Path) -> TrainedModel:
    """Returns the model in a folder.

    Raises:
        HemlineError: a file of it is missing or damaged.
    """
    for path, crc32 in trained_files(folder).items():
        files.check(path, crc32, remedy=_remedy(folder))
    content = _read(folder)
    schema = AttributeSchema.from_dict(content["schema"])
    return TrainedModel(
        network=rebuild(read_description(folder), schema, load_file(folder / WEIGHTS_FILE)),
        schema=schema,
        image_size_px=content["image_size_px"],
        crop=content.get("crop", "centre"),  # an older hemline knew no other
    )
