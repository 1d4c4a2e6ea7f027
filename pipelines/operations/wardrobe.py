"""Operation `wardrobe`: draws the demo data set."""

import os
from pathlib import Path
from typing import Annotated

from typer import Option, echo

from components.wardrobe.write import Labels, write_wardrobe
from pipelines.shell.reporting import progress


def wardrobe(
    *,
    out: Annotated[Path, Option(help="Folder to write; an older wardrobe is replaced.")],
    images: Annotated[int, Option(help="How many images.")] = 3000,
    image_size: Annotated[int, Option(help="Side of the square images, in pixels.")] = 256,
    seed: Annotated[int, Option(help="The same seed gives the same bytes.")] = 0,
    labels: Annotated[
        Labels,
        Option(
            help="One label an image, as FashionAI; or all that it shows, for data.format table."
        ),
    ] = "one",
) -> None:
    """Draw garments and write them as FashionAI does: image folders and Annotations/label.csv.

    With all labels, write images/ and labels.csv instead: the same pictures, each with every
    attribute that it shows.
    """
    with progress("drawing", total=images) as advance:
        write_wardrobe(
            out,
            num_images=images,
            image_size_px=image_size,
            seed=seed,
            num_processes=os.cpu_count() or 1,
            labels=labels,
            on_progress=advance,
        )
    echo(f"{images} images in {out}")
