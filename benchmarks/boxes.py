"""How boxes and attention meet the regions that decide an attribute, in the wardrobe's own truth.

    python -m benchmarks.boxes --truth data/raw/wardrobe/truth.parquet

In a project that has trained on `hemline wardrobe --labels all`, whose table has no regions, so
that `evaluate` has nothing to measure with. Measured are the test images' regions of the attributes
that they are labelled for. IoU is that of box and region; the whole image's is the region's area.
"""

import argparse
from pathlib import Path

import pandas as pd
import pyarrow as pa

from benchmarks.machine import machine
from components import files, tables
from components.datasets.fashionai import TRUTH_SCHEMA
from components.evaluation.attention import attention_in_regions, labelled_regions
from components.evaluation.boxes import boxes_in_regions
from components.images.store import ImageStore
from components.training.trained import read_trained_model


def main() -> None:
    """Prints percentages for every attribute and over all regions."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--truth", type=Path, required=True)
    parser.add_argument("--model", type=Path, default=Path("models/network"))
    parser.add_argument("--catalog", type=Path, default=Path("data/catalog"))
    parser.add_argument("--store", type=Path, default=Path("data/store"))
    parser.add_argument("--splits", type=Path, default=Path("data/splits"))
    arguments = parser.parse_args()
    trained = read_trained_model(arguments.model)
    catalog = tables.read_catalog(arguments.catalog)
    regions = labelled_regions(
        regions_of(arguments.truth, catalog), tables.read_splits(arguments.splits), "test"
    )
    store, names = ImageStore(arguments.store), trained.schema.names
    shown = (store, regions, catalog.images, catalog.boxes)
    seen, boxes = (
        attention_in_regions(trained.attend, *shown),
        boxes_in_regions(trained.locate, *shown),
    )
    print(f"{machine()}; {len(regions)} regions of test images")
    for title, found in (("attention", seen), ("boxes", boxes)):
        if found.empty:
            print(f"{title}: this network has none")
            continue
        by_attribute = found.groupby("attribute").mean().rename(index=dict(enumerate(names)))
        by_attribute.loc["all"] = found.drop(columns="attribute").mean()
        print(f"{title}, percent\n{(100 * by_attribute).round(1).to_string()}")


def regions_of(truth: Path, catalog: tables.Catalog) -> pa.Table:
    """Returns the regions that a wardrobe's truth knows of catalogued images: `tables.REGIONS`."""
    known = files.read_table(truth, schema=TRUTH_SCHEMA).to_pandas().dropna(subset="x0")
    images = catalog.images.select(["image", "path"]).to_pandas()
    images["path"] = images["path"].str.rsplit("/").str[-1]
    known["path"] = known["path"].str.rsplit("/").str[-1]
    known = known[known["attribute"].isin(catalog.schema.names)].merge(images, on="path")
    columns = {
        "image": known["image"],
        "attribute": known["attribute"].map(catalog.schema.index),
        "left": known["x0"],
        "top": known["y0"],
        "right": known["x1"],
        "bottom": known["y1"],
    }
    return pa.Table.from_pandas(pd.DataFrame(columns), preserve_index=False).cast(tables.REGIONS)


if __name__ == "__main__":
    main()
