"""Stage `triplets`: the splits → triplets, and batches where the objective wants them."""

from components import files, tables
from components.params import SamplingParams, load_section
from components.sampling.plan import write_plans
from pipelines import options
from pipelines.reporting import console


def triplets(
    *,
    catalog: options.Catalog,
    splits: options.Splits,
    triplets: options.Triplets,
    params: options.Params = options.PARAMS,
) -> None:
    """Draw the triplets of every epoch, of validation and of test, and the planned batches."""
    section = load_section(params, SamplingParams)
    schema = tables.read_schema(catalog / "schema.json")
    assigned = files.read_table(splits / "splits.parquet", schema=tables.SPLITS)
    left_out = write_plans(assigned, triplets, params=section, schema=schema)
    for split, kinds in left_out.items():
        for kind, names in kinds.items():
            if names:
                console.print(f"{split}: {len(names)} {kind.replace('_', ' ')}: {', '.join(names)}")
