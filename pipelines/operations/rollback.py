"""Operation `rollback`: the previous champion is champion again, with its embeddings."""

from typing import Annotated

from typer import Option

from components.errors import HemlineError
from components.registry import promotion
from components.registry.versions import RegisteredVersion, champion
from components.tracking.runs import Tracking
from pipelines.operations.promote.inputs import Inputs
from pipelines.operations.promote.publishing import publish, why_not_published
from pipelines.shell import options
from pipelines.shell.environment import tracking, who
from pipelines.shell.reporting import console, print_json

To = Annotated[int | None, Option(help="An earlier champion; by default the previous one.")]
Embed = Annotated[bool, Option("--embed", help="Embed again if the embeddings are gone.")]


def rollback(
    *,
    to: To = None,
    embed: Embed = False,
    catalog: options.Catalog = options.CATALOG,
    store: options.StoreAddress = str(options.STORE),
    embeddings: options.Embeddings = options.EMBEDDINGS,
    embeddings_root: options.EmbeddingsRoot = str(options.EMBEDDINGS_ROOT),
    params: options.Params = options.PARAMS,
    output_format: options.Format = "table",
) -> None:
    """Undo the last promotion; run again, the one before it.

    After a rollback was killed, this completes it and does no more. The other options are for
    `--embed`.
    """
    where = tracking(params)
    unfinished = promotion.settle(where)
    if unfinished is None or unfinished.action != "rollback":
        version = _target(to, where)
        missing = why_not_published(version, where)
        if missing and not embed:
            raise HemlineError(
                f"{missing}: `hemline rollback --to {version.version} --embed` embeds the catalog "
                "again"
            )
        if missing:
            inputs = Inputs(
                catalog=catalog,
                store=store,
                embeddings=embeddings,
                embeddings_root=embeddings_root,
                params=params,
            )
            publish(version, inputs, where)
        promotion.move_champion(
            "rollback", version.version, expected=champion(where), who=who(), tracking=where
        )
    move = promotion.read_moves(where)[-1]
    published = promotion.champion_embeddings(where)
    previous = f"models:/{where.model_name}/{move.previous}"
    if output_format == "json":
        print_json(
            {
                "champion": published.version.uri,
                "previous": previous,
                "embeddings": str(published.embeddings),
                "time": move.time,
                "who": move.who,
            }
        )
        return
    console.print(
        f"{published.version.uri} is champion, no longer {previous}, since {move.time} by "
        f"{move.who}; its embeddings: {published.embeddings}"
    )


def _target(to: int | None, where: Tracking) -> RegisteredVersion:
    target = promotion.previous_champion(where) if to is None else to
    if not promotion.was_champion(target, where):
        raise HemlineError(
            f"version {target} was never champion: `hemline promote {target}` asks the gate"
        )
    return RegisteredVersion(name=where.model_name, version=target)
