"""A product: one garment with all that makes it itself, to be photographed again and again.

Products come in few designs (a category with a shape and a kind of print) and few colours, so that
many share the values of all attributes. They differ in what a careful look finds: the cut within
the shape, the print's second colour, scale, direction and place, and small details.
"""

from dataclasses import asdict, dataclass, replace

import numpy as np

from components.wardrobe.cloth import PRINTS, Band, Cloth
from components.wardrobe.details import Detail, sample_details
from components.wardrobe.draw_lengths import COAT_HEM_Y, PANT_HEM_Y, SKIRT_HEM_Y
from components.wardrobe.figure import WAIST_Y
from components.wardrobe.outfit import UPPER, sleeves_that_fit, visible_values
from components.wardrobe.paint import Colour, plain
from components.wardrobe.style import Style

CATEGORIES = ("top", "dress", "skirt", "trousers", "coat")
COLOURS: dict[str, Colour] = {
    "black": (44, 42, 48),
    "white": (232, 230, 224),
    "blue": (58, 84, 150),
    "red": (178, 48, 54),
    "green": (70, 112, 78),
    "beige": (204, 178, 140),
}
"""The grounds; a product's own is at most 14 from one of them in every channel."""

_NUM_DESIGNS = 30
_NECK_Y = 14.0
_COLOUR_JITTER = 14
_MIN_CONTRAST = 110.0
_PIECES = {
    "top": ("top",),
    "dress": ("top", "bottom"),
    "skirt": ("bottom",),
    "trousers": ("bottom",),
    "coat": ("coat",),
}


@dataclass(frozen=True, kw_only=True)
class Cut:
    """The fields of `Style` that a garment fixes, with the same meaning."""

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
class Product:
    """One garment.

    Attributes:
        category: one of CATEGORIES.
        shapes: the values of those of the eight attributes that it has.
        colour: name of its ground in COLOURS.
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
        worn = replace(style, **pieces, **asdict(self.cut))
        return replace(worn, collar=plain(self.accent) if self.has_accent_collar else worn.top)


def sample_product(seed: int, item: int) -> Product:
    """Returns product `item` of the data set of this seed, independent of all other products."""
    rng = np.random.default_rng([seed, item, 5])
    category, shapes, pattern = _design(seed, int(rng.integers(_NUM_DESIGNS)))
    colour = str(rng.choice(tuple(COLOURS)))
    ground, second, third, accent = _colours(rng, colour)
    cut = _sample_cut(rng)
    return Product(
        category=category,
        shapes=shapes,
        colour=colour,
        cloth=_sample_cloth(rng, pattern, (ground, second, third, accent)),
        accent=accent,
        has_accent_collar=bool(rng.random() < 0.4),
        has_cuffs=bool(rng.random() < 0.4),
        has_belt=bool(rng.random() < 0.4),
        cut=cut,
        details=sample_details(
            rng, category, hem_y=_hem_y(category, shapes, cut), colours=(second, third, accent)
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


def _design(seed: int, design: int) -> tuple[str, dict[str, str], str]:
    """Returns category, shapes and print of one of the designs; categories come in turn."""
    rng = np.random.default_rng([seed, design, 6])
    category = CATEGORIES[design % len(CATEGORIES)]
    attributes = {
        "top": (str(rng.choice(UPPER)),),
        "dress": (str(rng.choice(UPPER)), "skirt_length"),
        "skirt": ("skirt_length",),
        "trousers": ("pant_length",),
        "coat": ("coat_length", "lapel_design"),
    }[category]
    shapes = {name: str(rng.choice(visible_values(name))) for name in attributes}
    if category in ("top", "dress", "coat"):
        shapes["sleeve_length"] = str(rng.choice(sleeves_that_fit(shapes)))
    return category, shapes, str(rng.choice(PRINTS))


def _colours(rng: np.random.Generator, name: str) -> tuple[Colour, Colour, Colour, Colour]:
    """Returns the ground and three colours that stand out from it."""
    ground = np.array(COLOURS[name])
    others = np.array([*COLOURS.values(), (222, 184, 60), (128, 76, 140), (120, 176, 200)])
    apart = others[np.linalg.norm(others - ground, axis=1) > _MIN_CONTRAST]
    chosen = np.stack([ground, *rng.permutation(apart)[:3]])
    jitter = rng.integers(-_COLOUR_JITTER, _COLOUR_JITTER, size=(4, 3), endpoint=True)
    ground, second, third, accent = (
        (red, green, blue) for red, green, blue in (chosen + jitter).tolist()
    )
    return ground, second, third, accent


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


def _sample_cloth(rng: np.random.Generator, pattern: str, colours: tuple[Colour, ...]) -> Cloth:
    ground, second, third, accent = colours
    angle_deg = float(rng.choice([0.0, 45.0, 90.0, 135.0]) + rng.uniform(-8.0, 8.0))
    bands: tuple[Band, ...] = ()
    if rng.random() < 0.35:
        top = float(rng.choice([24.0, 29.0, 34.0, 42.0, 48.0, 54.0]) + rng.uniform(-1.0, 1.0))
        bands = (Band(top=top, bottom=top + float(rng.uniform(2.0, 5.0)), colour=accent),)
    return Cloth(
        colour=ground,
        second=second,
        third=third if rng.random() < 0.5 else ground,
        pattern=pattern,
        period=float(rng.uniform(3.2, 7.5)),
        angle_deg=float(rng.uniform(-25.0, 25.0)) if pattern == "blocks" else angle_deg,
        weight=float(rng.random()),
        phase=(float(rng.random()), 0.0 if pattern == "blocks" else float(rng.random())),
        petals=int(rng.integers(3, 7)),
        staggered=bool(rng.random() < 0.5),
        bands=bands,
        sleeves=second if rng.random() < 0.15 else None,
        origin=(0.0, 0.0),
    )
