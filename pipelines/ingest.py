"""Stage `ingest`: a data set on disk → the catalog."""

from components.datasets.catalog import build_catalog, read_labels
from components.images.quarantine import check_quarantined_share
from components.params import DataParams, load_section
from components.tables import write_catalog
from pipelines import options
from pipelines.reporting import console


def ingest(
    *, data: options.Data, catalog: options.Catalog, params: options.Params = options.PARAMS
) -> None:
    """Read labels and image headers; write schema, images, labels and quarantine."""
    section = load_section(params, DataParams)
    labelled = read_labels(data, data_format=section.format)
    built = build_catalog(labelled, data, exclude_attributes=section.exclude_attributes)
    write_catalog(built, catalog)
    num_usable, num_quarantined = built.images.num_rows, built.quarantine.num_rows
    console.print(
        f"{num_usable} images, {built.labels.num_rows} labels of "
        f"{len(built.schema.attributes)} attributes; {num_quarantined} images in quarantine, "
        f"{labelled.num_unlabelled} rows without a label left out"
    )
    check_quarantined_share(
        num_quarantined,
        num_usable + num_quarantined,
        allowed=section.max_quarantined_share,
        where=catalog / "quarantine.parquet",
    )
