"""The eight FashionAI attributes and the names of their values, in the order of the y/n string.

`Annotations/label.csv` gives positions only; the names are those of the challenge's
description (FashionAI Global Challenge 2018, attributes recognition). The first value of
every attribute is "invisible": the part that decides the attribute cannot be seen.
"""

from types import MappingProxyType

FASHIONAI_VALUES = MappingProxyType(
    {
        "skirt_length": ("invisible", "short", "knee", "midi", "ankle", "floor"),
        "sleeve_length": (
            "invisible",
            "sleeveless",
            "cup",
            "short",
            "elbow",
            "three_quarter",
            "wrist",
            "long",
            "extra_long",
        ),
        "coat_length": (
            "invisible",
            "high_waist",
            "regular",
            "long",
            "micro",
            "knee",
            "midi",
            "ankle_and_floor",
        ),
        "pant_length": ("invisible", "short", "mid", "three_quarter", "cropped", "full"),
        "collar_design": ("invisible", "shirt", "peter_pan", "puritan", "rib"),
        "lapel_design": ("invisible", "notched", "collarless", "shawl", "plus_size_shawl"),
        "neckline_design": (
            "invisible",
            "strapless",
            "deep_v",
            "straight",
            "v",
            "square",
            "off_shoulder",
            "round",
            "sweetheart",
            "one_shoulder",
        ),
        "neck_design": ("invisible", "turtle", "ruffle_semi_high", "low_turtle", "draped"),
    }
)
