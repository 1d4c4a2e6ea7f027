"""What a photograph of a product shows besides: the wearer, other clothes, the stance, the view."""

from dataclasses import dataclass, replace

import numpy as np

from components.wardrobe.camera import Camera
from components.wardrobe.figure import Pose
from components.wardrobe.outfit import LOWER, UPPER, sleeves_that_fit, visible_values
from components.wardrobe.product import Product
from components.wardrobe.settings import Domain, sample_setting_camera, sample_setting_pose
from components.wardrobe.style import Style, sample_style

_JACKET_SHARE = 0.2


@dataclass(frozen=True, kw_only=True)
class PhotoSpec:
    """Everything that determines a photograph.

    Attributes:
        product: the garment.
        domain: where it is photographed.
        style: the looks of the wearer and of all that is worn with the product.
        clothes: the shapes of all that is worn but a coat, the product's among them.
        coat: the shapes of the coat worn over it, or of the product where it is one.
        pose, camera: the stance and the view.
        scene_seed: seeds the background, what stands in front, and the light.
    """

    product: Product
    domain: Domain
    style: Style
    clothes: dict[str, str]
    coat: dict[str, str] | None
    pose: Pose
    camera: Camera
    scene_seed: tuple[int, ...]


def domain_of(shot: int) -> Domain:
    """Returns where the photograph of this number is taken: in the shop and the street by turns."""
    return "street" if shot % 2 else "shop"


def sample_photo(product: Product, *, seed: int, item: int, shot: int) -> PhotoSpec:
    """Returns photograph `shot` of product `item`, independent of all other photographs."""
    style_rng, pose_rng, camera_rng, clothes_rng = (
        np.random.default_rng([seed, item, shot, stream]) for stream in range(7, 11)
    )
    domain = domain_of(shot)
    style = sample_style(style_rng)
    if domain == "shop":
        style = replace(style, tucked=True)
    clothes, coat = _sample_clothes(clothes_rng, product, domain)
    return PhotoSpec(
        product=product,
        domain=domain,
        style=style,
        clothes=clothes,
        coat=coat,
        pose=sample_setting_pose(pose_rng, domain),
        camera=sample_setting_camera(camera_rng, domain, extent_y=product.extent_y),
        scene_seed=(seed, item, shot, 11),
    )


def _sample_clothes(
    rng: np.random.Generator, product: Product, domain: Domain
) -> tuple[dict[str, str], dict[str, str] | None]:
    """Returns what is worn, the product among it, and the coat over it."""

    def any_value(attribute: str) -> str:
        return str(rng.choice(visible_values(attribute)))

    clothes = {} if product.is_coat else dict(product.shapes)
    if not product.is_upper:
        upper = str(rng.choice(UPPER))
        clothes[upper] = any_value(upper)
        clothes["sleeve_length"] = str(rng.choice(sleeves_that_fit(clothes)))
    if not product.is_lower:
        lower = str(rng.choice(LOWER))
        clothes[lower] = any_value(lower)
    if product.is_coat:
        del clothes["sleeve_length"]
        return clothes, product.shapes
    if domain == "shop" or product.category == "top" or rng.random() > _JACKET_SHARE:
        return clothes, None
    length = str(rng.choice(["high_waist", "regular"]))
    lapel = any_value("lapel_design")
    return clothes, {"coat_length": length, "lapel_design": lapel, "sleeve_length": "long"}
