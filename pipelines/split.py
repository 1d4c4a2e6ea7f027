"""Stage `split`: the catalog's usable images → train, valid and test; query and gallery."""

import pyarrow.compute as pc

from components import files, tables
from components.params import SplitParams, load_section
from components.sampling.splits import assign_splits
from pipelines import options
from pipelines.reporting import console


def split(
    *,
    catalog: options.Catalog,
    store: options.Store,
    splits: options.Splits,
    params: options.Params = options.PARAMS,
) -> None:
    """Assign every labelled image that the store holds to a split and a role."""
    section = load_section(params, SplitParams)
    source = tables.read_catalog(catalog)
    undecoded = files.read_table(store / "quarantine.parquet", schema=tables.QUARANTINE)
    images = source.images.filter(pc.invert(pc.is_in(source.images["path"], undecoded["path"])))
    labels = source.labels.filter(pc.is_in(source.labels["image"], images["image"]))
    assigned = assign_splits(
        images,
        labels,
        shares=(section.train_share, section.valid_share, section.test_share),
        query_share=section.query_share,
        seed=section.seed,
    )
    files.write_table(assigned, splits / "splits.parquet", schema=tables.SPLITS)
    counts = assigned.group_by(["split", "role"]).aggregate([("image", "count_distinct")])
    for row in sorted(counts.to_pylist(), key=str):
        console.print(f"{row['split']}, {row['role']}: {row['image_count_distinct']} images")
