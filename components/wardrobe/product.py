"""A product: one garment with all that makes it itself, to be photographed again and again.

Products share their design and colours with others. They differ in what a careful look finds: the
cut within the shape, the print's scale, direction, weight and place, cuffs, belt and bands, and
where small details sit.
"""

from dataclasses import asdict, dataclass, replace

import numpy as np

from components.wardrobe.cloth import Band, Cloth
from components.wardrobe.design import Design, Palette, sample_design
from components.wardrobe.details import Detail, sample_details
from components.wardrobe.draw_lengths import COAT_HEM_Y, PANT_HEM_Y, SKIRT_HEM_Y
from components.wardrobe.figure import WAIST_Y
from components.wardrobe.paint import Colour, plain
from components.wardrobe.style import Cut, Style

_NECK_Y = 14.0
_PIECES = {
    "top": ("top",),
    "dress": ("top", "bottom"),
    "skirt": ("bottom",),
    "trousers": ("bottom",),
    "coat": ("coat",),
}


@dataclass(frozen=True, kw_only=True)
class Product:
    """One garment.

    Attributes:
        category: one of `design.CATEGORIES`.
        shapes: the values of those of the eight attributes that it has.
        colour: name of its ground in `design.COLOURS`.
        cloth: what it is made of, print and all.
        accent: the colour of a contrasting collar, of cuffs and belt.
        has_accent_collar, has_cuffs, has_belt: where the accent is.
        cut: its proportions.
        details: buttons, pockets and emblems.
    """

    category: str
    shapes: dict[str, str]
    colour: str
    cloth: Cloth
    accent: Colour
    has_accent_collar: bool
    has_cuffs: bool
    has_belt: bool
    cut: Cut
    details: tuple[Detail, ...]

    @property
    def is_upper(self) -> bool:
        """Whether it covers the chest from the skin outwards: tops and dresses."""
        return self.category in ("top", "dress")

    @property
    def is_lower(self) -> bool:
        """Whether it covers the hips: dresses, skirts and trousers."""
        return self.category in ("dress", "skirt", "trousers")

    @property
    def is_coat(self) -> bool:
        """Whether it is worn open over other clothes."""
        return self.category == "coat"

    @property
    def extent_y(self) -> tuple[float, float]:
        """Heights at which it begins and ends, at most."""
        top_y = WAIST_Y if self.category in ("skirt", "trousers") else _NECK_Y
        return top_y, _hem_y(self.category, self.shapes, self.cut)

    @property
    def labels(self) -> dict[str, str]:
        """The values of all attributes that it has, category, colour and pattern among them."""
        named = {"category": self.category, "colour": self.colour, "pattern": self.cloth.pattern}
        return named | self.shapes

    def worn_with(self, style: Style) -> Style:
        """Returns a wearer's looks with this garment in place of its like."""
        pieces = dict.fromkeys(_PIECES[self.category], self.cloth)
        worn = replace(style, **(asdict(self.cut) | pieces))
        return replace(worn, collar=plain(self.accent) if self.has_accent_collar else worn.top)


def sample_product(seed: int, item: int) -> Product:
    """Returns product `item` of the data set of this seed, independent of all other products."""
    rng = np.random.default_rng([seed, item, 5])
    design, palette = sample_design(seed, rng)
    cut = _sample_cut(rng)
    return Product(
        category=design.category,
        shapes=design.shapes,
        colour=palette.name,
        cloth=_sample_cloth(rng, design, palette),
        accent=palette.accent,
        has_accent_collar=design.has_accent_collar,
        has_cuffs=bool(rng.random() < 0.3),
        has_belt=bool(rng.random() < 0.3),
        cut=cut,
        details=sample_details(
            rng,
            design.category,
            shape=design.detail,
            colour=palette.accent,
            hem_y=_hem_y(design.category, design.shapes, cut),
        ),
    )


def _hem_y(category: str, shapes: dict[str, str], cut: Cut) -> float:
    """Returns the height at which a garment ends."""
    if category == "top":
        return cut.top_hem_y
    if category == "trousers":
        return PANT_HEM_Y[shapes["pant_length"]]
    if category == "coat":
        return COAT_HEM_Y[shapes["coat_length"]]
    return SKIRT_HEM_Y[shapes["skirt_length"]]


def _sample_cut(rng: np.random.Generator) -> Cut:
    return Cut(
        hem_shift=float(rng.uniform(-1.0, 1.0)),
        sleeve_flare=float(rng.random()),
        skirt_flare=float(rng.random()),
        pant_flare=float(rng.random()),
        coat_flare=float(rng.random()),
        coat_gap=float(rng.uniform(2.0, 6.5)),
        break_y=float(rng.uniform(33.0, 36.0)),
        top_ease=float(rng.uniform(0.3, 2.0)),
        top_hem_y=float(rng.uniform(44.0, 50.0)),
        tucked=False,
        buttoned=bool(rng.random() < 0.35),
        hemmed=bool(rng.random() < 0.5),
    )


def _sample_cloth(rng: np.random.Generator, design: Design, palette: Palette) -> Cloth:
    bands: tuple[Band, ...] = ()
    if rng.random() < 0.3:
        top = float(rng.choice([24.0, 29.0, 34.0, 42.0, 48.0, 54.0]) + rng.uniform(-1.0, 1.0))
        bands = (Band(top=top, bottom=top + float(rng.uniform(2.0, 4.0)), colour=palette.accent),)
    return Cloth(
        colour=palette.ground,
        second=palette.second,
        third=palette.third if design.has_lines else palette.ground,
        pattern=design.pattern,
        period=design.period * float(rng.uniform(0.75, 1.3)),
        angle_deg=design.angle_deg + float(rng.uniform(-15.0, 15.0)),
        weight=float(rng.random()),
        phase=(float(rng.random()), 0.0 if design.pattern == "blocks" else float(rng.random())),
        petals=design.petals,
        staggered=design.is_staggered,
        bands=bands,
        sleeves=palette.second if design.has_plain_sleeves else None,
        origin=(0.0, 0.0),
    )
