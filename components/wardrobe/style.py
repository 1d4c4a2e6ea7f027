"""How a figure and its clothes look apart from their attributes: colours, cut and build."""

from dataclasses import dataclass

import numpy as np

from components.wardrobe.paint import Colour, Paint, sample_colour, sample_paint

HAIR_STYLES = ("none", "cap", "bob", "long", "bun")
_SKINS: tuple[Colour, ...] = (
    (248, 219, 196),
    (235, 190, 158),
    (208, 156, 118),
    (160, 108, 76),
    (104, 68, 50),
    (226, 226, 222),
)
_HAIRS: tuple[Colour, ...] = (
    (32, 26, 24),
    (78, 50, 34),
    (140, 92, 48),
    (214, 178, 110),
    (130, 130, 134),
    (150, 60, 36),
)


@dataclass(frozen=True, kw_only=True)
class Cut:
    """The proportions of garments.

    Attributes:
        hem_shift: -1..1, moves every hem by its garment's tolerance.
        sleeve_flare, skirt_flare, pant_flare, coat_flare: 0 (narrow) to 1 (wide).
        coat_gap: half the distance between the coat's fronts at the hem, body units.
        break_y: height at which the coat's fronts meet or come closest.
        top_ease: how far the top stands off the torso, body units.
        top_hem_y: where a top that is not tucked ends.
        tucked: whether the top ends at the waist.
        buttoned: whether a row of buttons runs down the top.
        hemmed: whether sleeves and hems have a visible border.
    """

    hem_shift: float
    sleeve_flare: float
    skirt_flare: float
    pant_flare: float
    coat_flare: float
    coat_gap: float
    break_y: float
    top_ease: float
    top_hem_y: float
    tucked: bool
    buttoned: bool
    hemmed: bool


@dataclass(frozen=True, kw_only=True)
class Style(Cut):
    """The looks of one figure; drawn independently of every attribute's value.

    Attributes:
        skin, hair, shoes, backdrop: colours.
        hair_style: one of HAIR_STYLES.
        top, bottom, coat, collar, cover: cloth; `collar` is the top's where they match.
    """

    skin: Colour
    hair: Colour
    shoes: Colour
    backdrop: Colour
    hair_style: str
    top: Paint
    bottom: Paint
    coat: Paint
    collar: Paint
    cover: Paint


_DRESS_SHARE = 0.4
_BACKDROP_SATURATION = 0.4
_CONTRAST_COLLAR_SHARE = 0.45
_TOP_EASE = 0.5
_TOP_HEM_Y = 47.0


def sample_style(rng: np.random.Generator) -> Style:
    """Returns looks in which neighbouring garments, skin and background stand apart."""
    skin = _SKINS[rng.integers(len(_SKINS))]
    top = sample_paint(rng, unlike=[skin])
    bottom = top if rng.random() < _DRESS_SHARE else sample_paint(rng, unlike=[skin, top.colour])
    cloth = [skin, top.colour, bottom.colour]
    coat = sample_paint(rng, unlike=cloth)
    contrast = sample_paint(rng, unlike=[skin, top.colour])
    return Style(
        skin=skin,
        hair=_HAIRS[rng.integers(len(_HAIRS))],
        shoes=sample_colour(rng, unlike=cloth),
        backdrop=sample_colour(
            rng, unlike=[*cloth, coat.colour], max_saturation=_BACKDROP_SATURATION
        ),
        hair_style=str(rng.choice(HAIR_STYLES)),
        top=top,
        bottom=bottom,
        coat=coat,
        collar=contrast if rng.random() < _CONTRAST_COLLAR_SHARE else top,
        cover=sample_paint(rng, unlike=[*cloth, coat.colour]),
        hem_shift=float(rng.uniform(-1.0, 1.0)),
        sleeve_flare=float(rng.random()),
        skirt_flare=float(rng.random()),
        pant_flare=float(rng.random()),
        coat_flare=float(rng.random()),
        coat_gap=float(rng.uniform(2.0, 6.5)),
        break_y=float(rng.uniform(33.0, 36.0)),
        top_ease=_TOP_EASE,
        top_hem_y=_TOP_HEM_Y,
        tucked=bool(rng.random() < 0.6),
        buttoned=bool(rng.random() < 0.5),
        hemmed=bool(rng.random() < 0.5),
    )
