"""What the networks are called, which of their parts can be switched, which pixels they take."""

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

from components.errors import HemlineError

NetworkName = Literal[
    "ag_man",
    "ag_mlan",
    "ahbn",
    "asen",
    "asen_v2",
    "attn_fashion",
    "csn",
    "fashionsearchnet_v2",
    "triplet_network",
]
GROWABLE = ("ag_man", "ag_mlan", "asen", "asen_v2", "attn_fashion", "csn")
"""Networks that an attribute can be added to, while embeddings of the others stay as they are.

Not the triplet network, whose one embedding knows no attribute; nor fashionsearchnet_v2 and ahbn,
which are built for the values and items of their data set.
"""
BACKBONES = (
    "alexnet",
    "resnet18",
    "resnet34",
    "resnet50",
    "resnet101",
    "resnext50_32x4d",
    "convnext_tiny",
    "efficientnet_v2_s",
    "tiny",  # for tests and smoke runs
)
"""torchvision's and the tiny one; beside them, `timm:` and a name of timm's."""

Parts = dict[str, Any]
Colour = tuple[float, float, float]
"""Of red, green and blue, as shares of 255."""


class PixelStatistics(NamedTuple):
    """Mean and standard deviation of the pixels that weights were trained on.

    Networks see pixels less the mean, divided by the deviation.
    """

    mean: Colour
    std: Colour


IMAGENET_PIXELS = PixelStatistics(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
"""Those of torchvision's weights; without pretrained weights, as good as any."""

_OF_BOTH_BRANCHES = ("fusion", "co_attention", "grid_size")  # parts of ahbn
_OF_BRANCH = {
    "attribute": ("attribute_supervision",),
    "landmark": ("landmark_supervision", "landmark_maps", "num_hourglasses"),
}

_TWO_BRANCHES: dict[str, tuple[Any, ...]] = {
    "hierarchical": (True, False),  # F23 beside F3
    "classification": (True, False),  # branch 1
    "asa": (True, False),  # attribute-guided spatial attention
    "sa": (True, False),  # spatial attention
    "spatial_kernel_size": (1, 7),  # of the spatial attention; the authors' code has 7
}
_TWO_ATTENTIONS: dict[str, tuple[Any, ...]] = {
    "asa": (True, False),
    "aca": ("concatenation", "none"),
}

NETWORK_PARTS: Mapping[str, Mapping[str, tuple[Any, ...]]] = {
    "ag_man": {
        **_TWO_BRANCHES,
        "aca": ("addition", "concatenation", "none"),
        "ca": (True, False),
    },
    "ag_mlan": {
        **_TWO_BRANCHES,
        "aca": ("concatenation", "addition", "none"),
        "masks": ("learned", "fixed"),
    },
    "ahbn": {
        "branches": ("both", "attribute", "landmark"),
        "attribute_supervision": (True, False),
        "landmark_supervision": (True, False),
        "fusion": ("compact_bilinear", "bilinear", "concatenation", "product", "sum"),
        "co_attention": ("joint", "separate", "none"),
        "grid_size": (8, 4, 16),  # of the two maps that are fused
        "landmark_maps": ("features", "heat_maps"),  # what the landmark branch gives
        "num_hourglasses": (4, 1, 2, 8),
    },
    "asen": _TWO_ATTENTIONS,
    "asen_v2": _TWO_ATTENTIONS,
    "attn_fashion": {"asa": (True, False), "aca": ("multiplication", "none")},
    "csn": {"masks": ("learned", "fixed")},
    "fashionsearchnet_v2": {
        "localisation": (True, False),  # boxes from activation maps
        "feature_fusion": (False, True),  # the whole map beside each box: no gain in the paper
        "memory": ("updated", "fixed"),  # in the last stage
    },
    "triplet_network": {},
}
"""The parts that ablations switch, and what each can be; the first is that of the paper."""


def resolve_parts(name: str, chosen: Mapping[str, Any]) -> Parts:
    """Returns what every part of a network is to be; a part that is None is as in its paper.

    Raises:
        HemlineError: the network is unknown, has no such part, the part cannot be that, or what
            is left would make no sense.
    """
    if name not in NETWORK_PARTS:
        raise HemlineError(f"there is no network {name!r}; allowed: {', '.join(NETWORK_PARTS)}")
    parts = NETWORK_PARTS[name]
    switched = {part: value for part, value in chosen.items() if value is not None}
    for part, value in switched.items():
        if part not in parts:
            has = f"has {', '.join(parts)}" if parts else "has no part to switch"
            raise HemlineError(f"{name} has no part {part}: make it null; {name} {has}")
        if value not in parts[part]:
            allowed = ", ".join(str(choice) for choice in parts[part])
            raise HemlineError(f"{part} of {name} may be {allowed} (got {value})")
    resolved = {part: choices[0] for part, choices in parts.items()} | switched
    if not resolved.get("sa", True) and "spatial_kernel_size" in switched:
        raise HemlineError(
            "spatial_kernel_size belongs to the part that sa false removes: make it null"
        )
    _check_branches(resolved, switched)
    is_blind = resolved.get("asa") is False and resolved.get("aca") == "none"
    if is_blind and "masks" not in resolved:
        raise HemlineError(
            f"asa false and aca none leave {name} no part that knows the attribute: keep one, or "
            "take triplet_network"
        )
    return resolved


def _check_branches(resolved: Parts, switched: Parts) -> None:
    """Raises a HemlineError for parts that belong to a branch that ahbn is to leave out."""
    kept = resolved.get("branches", "both")
    for branch, parts in _OF_BRANCH.items():
        absent = [] if kept in ("both", branch) else [*parts, *_OF_BOTH_BRANCHES]
        for part in absent:
            if part in switched:
                raise HemlineError(
                    f"{part} belongs to a branch that branches {kept} leaves out: make it null"
                )
    if resolved.get("landmark_maps") == "heat_maps" and not resolved["landmark_supervision"]:
        raise HemlineError(
            "landmark_maps heat_maps are what landmark_supervision trains: make that null, or take "
            "landmark_maps features"
        )
