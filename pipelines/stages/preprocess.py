"""Stage `preprocess`: the catalog's images → the store."""

from pathlib import Path
from typing import Annotated

from typer import Option

from components import files, tables
from components.images.preprocess import preprocess as run_preprocess
from components.images.remote_store import publish_store
from components.images.store import read_hashes
from components.params import DataParams, PreprocessParams, load_section
from pipelines.shell import options
from pipelines.shell.environment import ray_session
from pipelines.shell.reporting import console, progress

Publish = Annotated[
    str | None, Option(help="URL (s3://, gs://, …) to publish the store at as well.")
]


def preprocess(
    *,
    catalog: options.Catalog = options.CATALOG,
    store: options.Store = options.STORE,
    data: options.Data = None,
    publish: Publish = None,
    params: options.Params = options.PARAMS,
) -> None:
    """Decode, resize and crop all images into memory-mapped shards."""
    section = load_section(params, PreprocessParams)
    data_section = load_section(params, DataParams)
    catalogued = tables.read_catalog(catalog)
    images = catalogued.images
    is_on_ray = section.num_workers > 0
    with ray_session(needed=is_on_ray), progress("preprocessing", total=images.num_rows) as advance:
        done = run_preprocess(
            images,
            data or Path(data_section.root),
            store,
            image_size_px=section.image_size_px,
            crop=section.crop,
            boxes=catalogued.boxes,
            images_per_shard=section.images_per_shard,
            num_workers=section.num_workers,
            on_progress=advance,
        )
    console.print(f"{done.num_decoded} decoded, {images.num_rows - done.num_decoded} kept")
    files.write_table(
        read_hashes(store), store / tables.IMAGE_HASHES_FILE, schema=tables.IMAGE_HASHES
    )
    tables.write_quarantine(done.quarantine, store)
    tables.check_quarantined_share(
        done.quarantine.num_rows,
        images.num_rows,
        allowed=data_section.max_quarantined_share,
        where=store / tables.QUARANTINE_FILE,
    )
    if publish:
        console.print(f"{publish_store(store, publish)} shards uploaded to {publish}")
