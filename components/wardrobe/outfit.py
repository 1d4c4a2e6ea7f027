"""What the figure wears: which attributes it has, with which values, and what is hidden."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from components.datasets.fashionai import FASHIONAI_VALUES

INVISIBLE = "invisible"
SKINNY_NECKLINES = ("strapless", "sweetheart", "one_shoulder")
"""Necklines that leave a shoulder without cloth to hang a sleeve on."""

HIDING = {
    "skirt_length": ("crop", "counter", "plant"),
    "sleeve_length": ("cape", "parcel", "curtains"),
    "coat_length": ("crop", "counter", "plant"),
    "pant_length": ("crop", "counter", "plant"),
    "collar_design": ("hair", "scarf", "parcel", "plant"),
    "lapel_design": ("cape", "parcel", "plant"),
    "neckline_design": ("hair", "cape", "parcel", "plant"),
    "neck_design": ("hair", "parcel", "plant"),
}
"""The ways in which the part that decides an attribute can be out of sight."""

UPPER = ("neckline_design", "collar_design", "neck_design")
LOWER = ("skirt_length", "pant_length")
_COAT = ("coat_length", "lapel_design")
_COAT_SHARE = 0.2
_MIN_WEIGHT, _MAX_WEIGHT = 0.85, 1.15


@dataclass(frozen=True, kw_only=True)
class Outfit:
    """The garments of one figure.

    Attributes:
        labelled: the attribute that the image is labelled for.
        shapes: for every attribute the value that is drawn, None where no garment has it.
            Never "invisible": what is out of sight has a shape all the same.
        hiding: one of `HIDING[labelled]` when its label is "invisible", else None.
    """

    labelled: str
    shapes: dict[str, str | None]
    hiding: str | None

    def __post_init__(self) -> None:
        """Refuses values that cannot be drawn."""
        for attribute, value in self.shapes.items():
            if value is not None and value not in visible_values(attribute):
                raise ValueError(
                    f"cannot draw {attribute}={value!r}; allowed: {visible_values(attribute)}"
                )

    @property
    def label(self) -> str | None:
        """The value of the labelled attribute."""
        return INVISIBLE if self.hiding else self.shapes[self.labelled]


def visible_values(attribute: str) -> tuple[str, ...]:
    """Returns the values of an attribute that can be seen, in FashionAI's order."""
    return tuple(value for value in FASHIONAI_VALUES[attribute] if value != INVISIBLE)


def labelled_attribute(seed: int, index: int) -> str:
    """Returns the attribute that image `index` is labelled for: all in turn, in a seeded order."""
    attributes = tuple(FASHIONAI_VALUES)
    order = np.random.default_rng(seed).permutation(len(attributes))
    return attributes[int(order[index % len(attributes)])]


def value_shares(seed: int, attribute: str) -> npt.NDArray[np.float64]:
    """Returns how often each value of an attribute is drawn, shape (number of values,), sum 1.

    The shares differ by up to a third, in an order that depends on the seed: real data are
    not balanced either, but every value stays common enough to be learned.
    """
    names = FASHIONAI_VALUES[attribute]
    weights = np.linspace(_MIN_WEIGHT, _MAX_WEIGHT, len(names))
    position = tuple(FASHIONAI_VALUES).index(attribute)
    shuffled = np.random.default_rng([seed, position]).permutation(weights)
    return np.asarray(shuffled / shuffled.sum())


def sample_outfit(rng: np.random.Generator, *, seed: int, index: int) -> Outfit:
    """Returns the outfit of image `index`.

    Attributes other than the labelled one depend on it only where cloth demands it: no sleeve hangs
    on a strapless top.
    """
    labelled = labelled_attribute(seed, index)
    label = rng.choice(FASHIONAI_VALUES[labelled], p=value_shares(seed, labelled))
    hiding = None
    if label == INVISIBLE:
        hiding = str(rng.choice(HIDING[labelled]))
        label = rng.choice(visible_values(labelled))
    shapes: dict[str, str | None] = dict.fromkeys(FASHIONAI_VALUES)
    shapes[labelled] = str(label)
    for attribute in _worn(rng, labelled):
        if attribute != labelled:
            shapes[attribute] = str(rng.choice(_wearable(attribute, labelled, shapes)))
    return Outfit(labelled=labelled, shapes=shapes, hiding=hiding)


def _worn(rng: np.random.Generator, labelled: str) -> list[str]:
    """Returns the attributes the figure's garments have, those that constrain others first."""
    upper = labelled if labelled in UPPER else str(rng.choice(UPPER))
    lower = labelled if labelled in LOWER else str(rng.choice(LOWER))
    in_coat = labelled in _COAT or (labelled in LOWER and rng.random() < _COAT_SHARE)
    return [*(_COAT if in_coat else ()), upper, lower, "sleeve_length"]


def _wearable(attribute: str, labelled: str, shapes: dict[str, str | None]) -> list[str]:
    """Returns the values of an attribute that go with what is already worn."""
    values = visible_values(attribute)
    if attribute == "coat_length" and labelled in LOWER:
        return [value for value in values if value in ("high_waist", "regular")]
    if attribute == "neckline_design" and labelled == "sleeve_length":
        sleeveless = shapes["sleeve_length"] == "sleeveless"
        barred = {"off_shoulder"} if sleeveless else {"off_shoulder", *SKINNY_NECKLINES}
        return [value for value in values if value not in barred]
    if attribute == "sleeve_length":
        return [value for value in values if value in sleeves_that_fit(shapes)]
    return list(values)


def sleeves_that_fit(shapes: Mapping[str, str | None]) -> tuple[str, ...]:
    """Returns the sleeve lengths that fit the coat (whose sleeves are seen) or the neckline."""
    if shapes.get("coat_length"):
        return ("three_quarter", "wrist", "long", "extra_long")
    if shapes.get("neckline_design") in SKINNY_NECKLINES:
        return ("sleeveless",)
    if shapes.get("neckline_design") == "off_shoulder":
        return ("short", "elbow", "three_quarter", "wrist", "long", "extra_long")
    return visible_values("sleeve_length")
