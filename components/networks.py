"""What the networks are called, and which of their parts can be switched."""

from collections.abc import Mapping
from typing import Any, Literal

from components.errors import HemlineError

NetworkName = Literal[
    "ag_man",
    "ag_mlan",
    "asen",
    "asen_v2",
    "attn_fashion",
    "csn",
    "fashionsearchnet_v2",
    "triplet_network",
]
Parts = dict[str, Any]

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
    is_blind = resolved.get("asa") is False and resolved.get("aca") == "none"
    if is_blind and "masks" not in resolved:
        raise HemlineError(
            f"asa false and aca none leave {name} no part that knows the attribute: keep one, or "
            "take triplet_network"
        )
    return resolved
