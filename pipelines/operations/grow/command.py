"""Operation `grow`: an attribute is added to a version, whose other embeddings stay as they are."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

from typer import Argument, Option

from components import files, tables
from components.attributes import AttributeSchema
from components.errors import HemlineError
from components.evaluation.growth import growth_text
from components.params import ModelParams, TrainParams, load_section, resolved
from components.registry import ancestry, promotion, versions
from components.registry.versions import UNCHANGED_TAG, RegisteredVersion
from components.tracking.runs import Tracking
from components.training.growth import Growth, plan_growth, read_parent, values_beyond
from components.training.setup import TrainingInputs
from pipelines.operations.grow.parent import take_parent
from pipelines.operations.rollback import rollback
from pipelines.shell import dvc, options
from pipelines.shell.environment import store_location, tracking
from pipelines.shell.params_file import write_values
from pipelines.shell.reporting import console, notes, print_json

Version = Annotated[
    str | None, Argument(help="The version to grow, such as models:/hemline@champion.")
]
Attributes = Annotated[
    list[str] | None,
    Option("--attribute", help="Attribute to add; may be repeated. By default, all that are new."),
]
Undo = Annotated[
    bool, Option("--undo", help="Go back from a champion that was grown to what it was grown from.")
]
_PARENT_KEY = "train.parent"


def grow(
    version: Version = None,
    *,
    attribute: Attributes = None,
    undo: Undo = False,
    params: options.Params = options.PARAMS,
    output_format: options.Format = "table",
) -> None:
    """Add attributes of the catalog to a version, and leave the embeddings of all others alone.

    Label the attribute, and run `dvc repro split`. What is trained is a small part for the new
    attribute, in a minute or two on a CPU; the version is written to models/parent, params.yaml
    names it, and `dvc repro` does the rest. It ends with a version that extends the other, and with
    embeddings of which only the new attribute's were made; `hemline promote` asks the gate about
    the new attribute. An attribute of the version that the catalog does not have is left out.

    Where only values are new, of attributes that the version knows, nothing is trained: the version
    that is registered has all embeddings of the other, and prototypes of the new values.

    If it is killed, run it again.
    """
    where = tracking(params)
    if undo:
        if version or attribute:
            raise HemlineError("--undo takes no version and no attribute: it undoes the champion's")
        _undo(where, params=params, output_format=output_format)
        return
    found = versions.resolve(version or f"models:/{where.model_name}@champion", where)
    growth = prepare(found, attribute, params=params, where=where)
    notes.print(growth.text)
    dvc.run("repro")
    _tell(growth, where=where, as_json=output_format == "json")


def prepare(
    version: RegisteredVersion, attributes: Sequence[str] | None, *, params: Path, where: Tracking
) -> Growth:
    """Makes `dvc repro` grow a version: the project then holds it, and params.yaml names it.

    Nothing is changed where it cannot be grown. Returns what will be grown.

    Raises:
        HemlineError: the attributes are not those that are new in the catalog, or the version
            cannot be grown by them.
    """
    inputs = TrainingInputs(
        catalog=options.CATALOG,
        store=store_location(str(options.STORE)),
        splits=options.SPLITS,
        triplets=options.TRIPLETS,
    )
    options.PARENT.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=options.PARENT.parent, prefix="taking-") as temporary:
        folder = Path(temporary) / options.PARENT.name
        take_parent(version, folder, where=where)
        graph_sha256 = files.read_json(folder / tables.PARENT_VERSION)["graph_sha256"]
        parent = read_parent(folder, graph_sha256)
        known, catalog = parent.model.schema, tables.read_schema(inputs.catalog)
        has_new_values = bool(values_beyond(known, catalog, tables.read_splits(inputs.splits)))
        _check_attributes(attributes, known, catalog, has_new_values=has_new_values, of=version.uri)
        growth = plan_growth(
            parent,
            inputs,
            load_section(params, ModelParams),
            flip_probability=load_section(params, TrainParams).flip_probability,
        )
        if not _holds(options.PARENT, graph_sha256):
            shutil.rmtree(options.PARENT, ignore_errors=True)
            folder.replace(options.PARENT)
    dvc.track(options.PARENT)
    if resolved(params)["train"]["parent"] != graph_sha256:
        write_values({_PARENT_KEY: graph_sha256}, params)
    return growth


def _holds(folder: Path, graph_sha256: str) -> bool:
    try:
        read_parent(folder, graph_sha256)
    except HemlineError:
        return False
    return True


def _check_attributes(
    asked: Sequence[str] | None,
    known: AttributeSchema,
    catalog: AttributeSchema,
    *,
    has_new_values: bool,
    of: str,
) -> None:
    """Refuses attributes that are not those that the catalog has and the version does not know.

    There need not be one where the catalog has values that the version does not know.
    """
    new = [name for name in catalog.names if name not in known.names]
    for name in asked or ():
        if name in known.names:
            raise HemlineError(
                f"{of} knows {name} already; to train it again, with other labels, train the whole "
                "network (train.parent null)"
            )
        if name not in catalog.names:
            raise HemlineError(
                f"the catalog {options.CATALOG} has no attribute {name!r}; new in it: "
                f"{', '.join(new) or 'none'}. `dvc repro split` reads labels that were added"
            )
    if asked and (others := [name for name in new if name not in asked]):
        raise HemlineError(
            f"the catalog has {', '.join(others)} too, which {of} does not know: grow it as well "
            f"(--attribute {others[0]}), or leave it out (data.exclude_attributes), and `dvc repro "
            "split`"
        )
    if not new and not has_new_values and all(name in catalog.names for name in known.names):
        raise HemlineError(
            f"{of} knows every attribute of the catalog {options.CATALOG} ("
            f"{', '.join(catalog.names)}) and every value of its training images: there is nothing "
            "to grow. `dvc repro split` reads labels that were added"
        )


def _tell(growth: Growth, *, where: Tracking, as_json: bool) -> None:
    made = versions.read_registration(options.REGISTRATION)
    figures = files.read_json(options.EVALUATION).get("growth", {})
    unchanged = versions.read_tag(made, UNCHANGED_TAG, tracking=where)
    measured = {name: row for name, row in figures.items() if name in growth.new}
    if as_json:
        print_json(
            {
                "model": made.uri,
                "extends": growth.parent.uri,
                "attributes": growth.new,
                "values": growth.new_values,
                "growth": measured,
                "unchanged_sha256": unchanged,
            }
        )
        return
    for name, row in measured.items():
        console.print(growth_text(name, row), markup=False)
    for name, values in growth.new_values.items():
        console.print(f"new prototypes of {name}: {', '.join(values)}", markup=False)
    console.print(
        f"{made.uri} extends {growth.parent.uri}: embeddings of all attributes that both know are "
        f"the same bits (SHA-256 {str(unchanged)[:12]}).\nNext: `hemline promote "
        f"{made.version}`; git: params.yaml, dvc.lock, {options.PARENT}.dvc, metrics, plots"
    )


def _undo(where: Tracking, *, params: Path, output_format: options.Format) -> None:
    """Rolls back a champion that was grown, to the version that it was grown from."""
    number = versions.champion(where)
    if number is None:
        raise HemlineError(
            f"the registry {where.registry_address} has no champion of {where.model_name}"
        )
    champion = RegisteredVersion(name=where.model_name, version=number)
    grown_from = ancestry.ancestors(champion, tracking=where)
    if not grown_from:
        raise HemlineError(f"the champion, {champion.uri}, was not grown")
    previous = ancestry.parent_here(grown_from, tracking=where)
    if previous is None:
        raise HemlineError(
            f"{champion.uri} was grown in another registry, and {where.registry_address} has not "
            f"what it was grown from, {grown_from[0].uri} there: `hemline rollback` goes to the "
            "previous champion"
        )
    if not promotion.was_champion(previous.version, where):
        raise HemlineError(
            f"{champion.uri} extends {previous.uri}, which was never champion: `hemline promote "
            f"{previous.version}` asks the gate, `hemline rollback` goes to the previous champion"
        )
    rollback(to=previous.version, params=params, output_format=output_format)
    notes.print(
        f"{params} still names the version that was grown: `git restore` or `git revert` brings "
        "the project back, or data.exclude_attributes leaves the attribute out of what comes next"
    )
