"""Stage `ingest`: a data set on disk → the catalog."""

from collections import Counter
from pathlib import Path

from components import tables
from components.datasets.catalog import build_catalog
from components.datasets.description import describe_catalog
from components.datasets.read import read_labels
from components.errors import DamagedFileError, HemlineError
from components.params import DataParams, load_section
from components.tables import Catalog, read_catalog, write_catalog
from pipelines.shell import options
from pipelines.shell.reporting import console, notes


def ingest(
    *,
    catalog: options.Catalog = options.CATALOG,
    data: options.Data = None,
    params: options.Params = options.PARAMS,
) -> None:
    """Read labels and image headers; write schema, images, labels and quarantine.

    A catalog that is there already is continued: its images keep their numbers.
    """
    section = load_section(params, DataParams)
    folder = data or Path(section.root)
    labelled = read_labels(
        folder,
        data_format=section.format,
        dataset=section.dataset,
        shop_gallery=section.shop_gallery,
    )
    built = build_catalog(
        labelled,
        folder,
        exclude_attributes=section.exclude_attributes,
        previous=_previous(catalog),
    )
    _print(built)
    for what, number in labelled.counted.items():
        console.print(f"{what}: {number}", markup=False)
    # where too much cannot be used, only the quarantine is written: a disk that was not there for a
    # moment would otherwise cost its images their numbers
    tables.write_quarantine(built.quarantine, catalog)
    quarantined = set(built.quarantine["path"].to_pylist())
    tables.check_quarantined_share(
        len(quarantined),
        len(quarantined | set(built.images["path"].to_pylist())),
        allowed=section.max_quarantined_share,
        where=catalog / tables.QUARANTINE_FILE,
    )
    write_catalog(built, catalog)


def _print(built: Catalog) -> None:
    console.print(
        f"{built.images.num_rows} images, {built.labels.num_rows} labels of "
        f"{len(built.schema.attributes)} attributes; {built.quarantine.num_rows} rows in quarantine"
    )
    reasons = Counter(built.quarantine["reason"].to_pylist())
    for what, number in [*reasons.most_common(), *built.left_out.items()]:
        console.print(f"{what}: {number}", markup=False)
    for line in describe_catalog(built).lookalikes:
        console.print(line, markup=False)


def _previous(catalog: Path) -> Catalog | None:
    if not (catalog / tables.IMAGES_FILE).exists():
        return None
    try:
        return read_catalog(catalog)
    except DamagedFileError:  # from scratch, images would lose their numbers
        raise
    except HemlineError as error:
        notes.print(f"numbering images from scratch: {error}", markup=False)
        return None
