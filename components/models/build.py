"""From names and numbers to a network."""

from collections.abc import Callable, Sequence
from typing import Any

from components.errors import HemlineError
from components.models.ag_man import AGMAN, AGMLAN
from components.models.ahbn import AHBN
from components.models.asen import ASEN, ASENV2
from components.models.attn_fashion import AttnFashion
from components.models.backbones import build_backbone
from components.models.csn import CSN, TripletNetwork
from components.models.fashionsearchnet import FashionSearchNetV2
from components.models.network import EmbeddingNetwork
from components.networks import Colour, PixelStatistics, resolve_parts

_NETWORKS: dict[str, Callable[..., EmbeddingNetwork]] = {
    "ag_man": AGMAN,
    "ag_mlan": AGMLAN,
    "ahbn": AHBN,
    "asen": ASEN,
    "asen_v2": ASENV2,
    "attn_fashion": AttnFashion,
    "csn": CSN,
    "fashionsearchnet_v2": FashionSearchNetV2,
    "triplet_network": TripletNetwork,
}


def build_model(
    *,
    name: str,
    num_values: Sequence[int],
    num_landmarks: int = 0,
    backbone: str,
    weights: str,
    embedding_dim: int,
    attention_dim: int,
    normalise_features: bool,
    bilinear_dim: int = 8192,
    landmark_channels: int = 256,
    pixel_mean: Sequence[float] | None = None,
    pixel_std: Sequence[float] | None = None,
    **parts: Any,
) -> EmbeddingNetwork:
    """Returns the network that params name, its backbone loaded and the rest initialised.

    Names and parts, the switches of ablations, are those of `components.networks.NETWORK_PARTS`; a
    part that is None is as in the network's paper. `build_backbone` says what `backbone` and
    `weights` may be. `attention_dim` is the width of the spatial attention that knows the
    attribute, `normalise_features` BatchNorm on the map that attributes are asked of, `num_values`
    the number of values of each attribute, 0 of one that does not list them; `num_landmarks` those
    of the data set, `bilinear_dim` and `landmark_channels` widths of `ahbn`. `pixel_mean` and
    `pixel_std` are what images are normalised with, None for what the weights were trained with.

    Raises:
        HemlineError: name, parts, widths and data do not make a network, or `build_backbone` cannot
            load the weights.
    """
    options = resolve_parts(name, parts)
    num_attributes = len(num_values)
    if "masks" in options and embedding_dim < num_attributes:
        raise HemlineError(
            f"model.embedding_dim {embedding_dim} leaves no dimension for each of "
            f"{num_attributes} attributes, which the masks of {name} need"
        )
    if name in ("ahbn", "fashionsearchnet_v2"):
        options["num_values"] = num_values
    elif name != "triplet_network":
        options["num_attributes"] = num_attributes
    if name == "ahbn":
        options["num_landmarks"] = num_landmarks
        options["bilinear_dim"] = bilinear_dim
        options["landmark_channels"] = landmark_channels
    elif name not in ("triplet_network", "csn"):
        options["attention_dim"] = attention_dim
    built = build_backbone(backbone, weights=weights)
    network = _NETWORKS[name](
        built, embedding_dim=embedding_dim, normalise_features=normalise_features, **options
    )
    trained_with = built.pixel_statistics
    network.pixel_statistics = PixelStatistics(
        mean=_colour(pixel_mean) if pixel_mean else trained_with.mean,
        std=_colour(pixel_std) if pixel_std else trained_with.std,
    )
    return network


def _colour(shares: Sequence[float]) -> Colour:
    red, green, blue = shares
    return red, green, blue
