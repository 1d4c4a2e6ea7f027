"""Stage `triplets`: the splits → triplets, and batches where the objective wants them."""

from components import files, tables
from components.params import SamplingParams, load_section
from components.sampling.epochs import write_epochs
from pipelines.shell import options
from pipelines.shell.reporting import console


def triplets(
    *,
    catalog: options.Catalog,
    splits: options.Splits,
    triplets: options.Triplets,
    params: options.Params = options.PARAMS,
) -> None:
    """Draw or take the triplets of every epoch, of validation and of test; plan the batches."""
    section = load_section(params, SamplingParams)
    schema = tables.read_schema(catalog)
    assigned = tables.read_splits(splits)
    published = None
    if section.triplets == "published":
        path = catalog / tables.PUBLISHED_TRIPLETS_FILE
        published = files.read_table(path, schema=tables.PUBLISHED_TRIPLETS)
    left_out = write_epochs(assigned, triplets, params=section, schema=schema, published=published)
    for split, kinds in left_out.items():
        for kind, found in kinds.items():
            if found:
                what = f"{split}: {_shown(found, kind.replace('_', ' '))}"
                console.print(what, markup=False)


def _shown(found: list[str] | dict[str, int], kind: str) -> str:
    if isinstance(found, list):
        return f"{len(found)} {kind}: {', '.join(found)}"
    numbers = ", ".join(f"{name} {number}" for name, number in found.items())
    return f"{sum(found.values())} {kind}: {numbers}"
