"""Operation `wardrobe`: draws the demo data set."""

import os
from pathlib import Path
from typing import Annotated

from typer import Option, echo

from components.errors import HemlineError
from components.wardrobe.write import Labels, write_wardrobe
from components.wardrobe.write_products import write_products
from pipelines.shell.reporting import progress

_NUM_IMAGES = 3000
_PHOTOS_PER_ITEM = 6


def wardrobe(
    *,
    out: Annotated[Path, Option(help="Folder to write; an older wardrobe is replaced.")],
    images: Annotated[
        int | None, Option(help=f"How many images; {_NUM_IMAGES} unless --items is given.")
    ] = None,
    image_size: Annotated[int, Option(help="Side of the square images, in pixels.")] = 256,
    seed: Annotated[int, Option(help="The same seed gives the same bytes.")] = 0,
    labels: Annotated[
        Labels | None,
        Option(
            help="One label an image, as FashionAI (unless told otherwise); or all that it shows, "
            "for data.format table."
        ),
    ] = None,
    items: Annotated[
        int | None, Option(help="How many products to photograph, for data.format table.")
    ] = None,
    photos_per_item: Annotated[
        int | None,
        Option(
            help="Photographs of each product, shop and street by turns; "
            f"{_PHOTOS_PER_ITEM} unless told otherwise."
        ),
    ] = None,
) -> None:
    """Draw garments and write them as FashionAI does: image folders and Annotations/label.csv.

    With all labels, write images/ and labels.csv instead: the same pictures, each with every
    attribute that it shows. With items, write images/ and labels.csv of products, each photographed
    several times, with the garment's box and landmarks.
    """
    if items is not None:
        _check_goes_with_items(images, labels)
        _draw_products(out, items, photos_per_item, image_size, seed)
        return
    if photos_per_item is not None:
        raise HemlineError("--photos-per-item goes with --items: it says how many of each product")
    num_images = _NUM_IMAGES if images is None else images
    with progress("drawing", total=num_images) as advance:
        write_wardrobe(
            out,
            num_images=num_images,
            image_size_px=image_size,
            seed=seed,
            num_processes=os.cpu_count() or 1,
            labels=labels or "one",
            on_progress=advance,
        )
    echo(f"{num_images} images in {out}")


def _check_goes_with_items(images: int | None, labels: Labels | None) -> None:
    if images is not None:
        raise HemlineError(
            "--items and --images: the number of images is that of the items times "
            "--photos-per-item; leave out --images"
        )
    if labels == "one":
        raise HemlineError(
            "--items and --labels one: a product's images have all its labels; leave out --labels"
        )


def _draw_products(
    out: Path, num_items: int, photos_per_item: int | None, image_size: int, seed: int
) -> None:
    per_item = _PHOTOS_PER_ITEM if photos_per_item is None else photos_per_item
    with progress("drawing", total=num_items * per_item) as advance:
        write_products(
            out,
            num_items=num_items,
            photos_per_item=per_item,
            image_size_px=image_size,
            seed=seed,
            num_processes=os.cpu_count() or 1,
            on_progress=advance,
        )
    echo(f"{num_items * per_item} images of {num_items} items in {out}")
