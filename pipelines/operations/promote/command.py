"""Operation `promote`: a version through the gate, its embeddings published, then champion."""

from collections.abc import Sequence
from typing import Annotated

from typer import Argument, Exit, Option

from components.errors import HemlineError
from components.evaluation.verdict import Verdict
from components.registry import promotion, versions
from components.registry.promotion import champion_embeddings
from components.registry.versions import RegisteredVersion
from components.tracking.runs import Tracking
from pipelines.operations.promote.inputs import Inputs
from pipelines.operations.promote.judging import verdict_on
from pipelines.operations.promote.publishing import publish, why_not_published
from pipelines.shell import options
from pipelines.shell.environment import tracking, who
from pipelines.shell.exit_codes import REJECTED
from pipelines.shell.reporting import console, print_json, table

Version = Annotated[str, Argument(help="Its number, or a URI such as models:/hemline/3.")]
Again = Annotated[
    bool,
    Option(
        "--again",
        help="Promote the version even if it was rolled back; publish images that are new since, "
        "if it is champion already.",
    ),
]
Without = Annotated[
    list[str] | None,
    Option(metavar="ATTRIBUTE", help="The version may lack this attribute of the champion's."),
]

_INPUTS = Inputs()


def promote(
    version: Version = "latest",
    *,
    catalog: options.Catalog = options.CATALOG,
    store: options.StoreAddress = str(options.STORE),
    splits: options.Splits = options.SPLITS,
    embeddings: options.Embeddings = options.EMBEDDINGS,
    embeddings_root: options.EmbeddingsRoot = str(options.EMBEDDINGS_ROOT),
    params: options.Params = options.PARAMS,
    again: Again = False,
    without: Without = None,
    output_format: options.Format = "table",
) -> None:
    """Make a version champion if it passes the gate, together with its embeddings.

    Exit status: 0 if it is champion, 10 if the gate rejected it, which changes nothing. Idempotent:
    if it is killed, run it again.
    """
    inputs = Inputs(
        catalog=catalog,
        store=store,
        splits=splits,
        embeddings=embeddings,
        embeddings_root=embeddings_root,
        params=params,
    )
    verdict = promote_version(version, inputs=inputs, again=again, without=without or ())
    where = tracking(params)
    uri = f"models:/{where.model_name}/{verdict.challenger}"
    embeddings_of = champion_embeddings(where).embeddings if verdict.passed else None
    if output_format == "json":
        print_json({"model": uri, "embeddings": embeddings_of, "verdict": verdict.as_dict()})
    else:
        print_verdict(verdict)
        console.print(
            f"{uri} is champion; its embeddings: {embeddings_of}"
            if verdict.passed
            else f"{uri} is rejected; nothing was changed"
        )
    if not verdict.passed:
        raise Exit(REJECTED)


def promote_version(
    version: int | str = "latest",
    *,
    inputs: Inputs = _INPUTS,
    again: bool = False,
    without: Sequence[str] = (),
) -> Verdict:
    """Returns the gate's verdict on a version, which is champion from then on if it passed.

    The version is given by its number, as "latest" or by its URI; one that was rolled back needs
    `again`, and attributes of the champion's that it may lack are named in `without`. Idempotent:
    called again, after a crash or when it is done, it ends in the same state. A verdict by the same
    limits against the same champion stands, and nothing is done twice.

    Raises:
        HemlineError: there is no such version, it was rolled back, or it cannot be measured or
            embedded.
    """
    where = tracking(inputs.params)
    challenger = _resolve(str(version), where)
    champion = versions.champion(where)
    rollback = promotion.was_rolled_back(challenger.version, where)
    if rollback and not again:
        raise HemlineError(
            f"{challenger.uri} was rolled back at {rollback.time} by {rollback.who}; "
            f"`hemline promote {challenger.version} --again` makes it champion again"
        )
    verdict = verdict_on(challenger, champion, without=without, inputs=inputs, where=where)
    if not verdict.passed:
        return verdict
    # a version that is not in use is published again: the catalog may have grown since
    if again or champion != challenger.version or why_not_published(challenger, where):
        publish(challenger, inputs, where)
    promotion.move_champion(
        "promote", challenger.version, expected=champion, who=who(), tracking=where
    )
    return verdict


def _resolve(version: str, where: Tracking) -> RegisteredVersion:
    is_short = version.isdecimal() or version == "latest"
    model = where.model_name
    found = versions.resolve(f"models:/{model}/{version}" if is_short else version, where)
    if found.name != model:
        raise HemlineError(f"{version} is no version of {model}, this project's registry.model")
    return found


def print_verdict(verdict: Verdict) -> None:
    """Prints MAP per attribute and the rules with their results."""
    against = "alone" if verdict.champion is None else f"against version {verdict.champion}"
    title = f"Version {verdict.challenger} {against}: MAP on one test split"
    attributes = [
        (
            row.name,
            str(row.num_queries),
            verdict.champion_text(row) or "none",
            f"{row.challenger_map:.2f}",
            "" if row.random_map is None else f"{row.random_map:.2f}",
            row.gain_text,
        )
        for row in verdict.attributes
    ]
    columns = ("queries", "champion", "challenger", "random", "challenger's gain, %")
    rules = table("Rules", ["rule"], ["measured", "must be", ""])
    for rule in verdict.rules:
        rules.add_row(
            rule.title,
            f"{rule.measured:.4g}",
            f"{rule.bound} {rule.limit:g}",
            "kept" if rule.passed else "broken",
            style=None if rule.passed else "bold red",
        )
    console.print(table(title, ["attribute"], columns, rows=attributes), rules)
    for remark in verdict.remarks:
        console.print(remark, markup=False)
