"""Stage `ingest`: a data set on disk → the catalog."""

from pathlib import Path

from components.datasets.catalog import build_catalog
from components.datasets.read import read_labels
from components.errors import HemlineError
from components.images.quarantine import check_quarantined_share
from components.params import DataParams, load_section
from components.tables import Catalog, read_catalog, write_catalog
from pipelines import options
from pipelines.reporting import console


def ingest(
    *, data: options.Data, catalog: options.Catalog, params: options.Params = options.PARAMS
) -> None:
    """Read labels and image headers; write schema, images, labels and quarantine.

    A catalog that is there already is continued: its images keep their numbers.
    """
    section = load_section(params, DataParams)
    labelled = read_labels(data, data_format=section.format, dataset=section.dataset)
    built = build_catalog(
        labelled,
        data,
        exclude_attributes=section.exclude_attributes,
        previous=_previous(catalog),
    )
    write_catalog(built, catalog)
    unusable = set(built.quarantine["path"].to_pylist())
    console.print(
        f"{built.images.num_rows} images, {built.labels.num_rows} labels of "
        f"{len(built.schema.attributes)} attributes; {len(unusable)} images in quarantine"
        + "".join(f"; {number} {rows}" for rows, number in built.left_out.items())
    )
    check_quarantined_share(
        len(unusable),
        len(unusable | set(built.images["path"].to_pylist())),
        allowed=section.max_quarantined_share,
        where=catalog / "quarantine.parquet",
    )


def _previous(catalog: Path) -> Catalog | None:
    if not (catalog / "images.parquet").exists():
        return None
    try:
        return read_catalog(catalog)
    except HemlineError as error:
        console.print(f"numbering images anew: {error}")
        return None
