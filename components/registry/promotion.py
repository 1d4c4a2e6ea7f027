"""Which version is champion: moved in one step, remembered in order, and moved back.

A version carries its verdict and the address of its embeddings as tags, both set before the alias
`champion` points at it. The moves are numbered tags of the model: each is written before the alias
is moved, and marked as done after. After a kill in between, the alias tells which move it was.
"""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from components.errors import HemlineError
from components.registry.package import Ancestor
from components.registry.versions import (
    CHAMPION,
    RegisteredVersion,
    champion,
    champion_of,
    of_graph,
    read_tag,
    registered_model,
)
from components.tracking.runs import Tracking

VERDICT_TAG = "hemline.verdict"
EMBEDDINGS_TAG = "hemline.embeddings"
_MOVE_PREFIX = "hemline.history."  # of tags: hemline.history.<number> holds a move

Action = Literal["promote", "rollback"]


@dataclass(frozen=True, kw_only=True)
class Move:
    """A change of the champion from version `previous` (None for the first) to `version`.

    `number` counts from 1, `time` is UTC in ISO 8601, `who` names user and machine, and `done` says
    whether it was completed.
    """

    number: int
    action: Action
    version: int
    previous: int | None
    time: str
    who: str
    done: bool


@dataclass(frozen=True, kw_only=True)
class Published:
    """A version and the address of the embeddings that it made."""

    version: RegisteredVersion
    embeddings: str


def champion_embeddings(tracking: Tracking) -> Published:
    """Returns the champion together with its embeddings; they are never of two versions.

    Raises:
        HemlineError: there is no champion, it has no embeddings, or the store does not answer.
    """
    number = champion(tracking)
    if number is None:
        raise HemlineError(
            f"the registry {tracking.registry_address} has no champion of {tracking.model_name}: "
            "`hemline promote` makes one"
        )
    version = RegisteredVersion(name=tracking.model_name, version=number)
    address = read_tag(version, EMBEDDINGS_TAG, tracking=tracking)
    if address is None:
        raise HemlineError(
            f"the champion, version {number}, has no embeddings: `hemline promote {number}`"
        )
    return Published(version=version, embeddings=address)


def published_folders(ancestors: Iterable[Ancestor], tracking: Tracking) -> list[Path]:
    """Returns the folders of the embeddings by some versions; those at a URL are left out.

    Raises:
        HemlineError: the store does not answer.
    """
    found = [of_graph(each.name, each.graph_sha256, tracking) for each in ancestors]
    addresses = [read_tag(x, EMBEDDINGS_TAG, tracking=tracking) for x in found if x is not None]
    return [Path(address) for address in addresses if address and "://" not in address]


def read_moves(tracking: Tracking) -> list[Move]:
    """Returns all moves that took place, in order.

    A last one that was not done, and that the alias does not confirm, did not take place.
    """
    model = registered_model(tracking)
    if model is None:
        return []
    tags = sorted(name for name in model.tags if name.startswith(_MOVE_PREFIX))
    moves = [Move(**json.loads(model.tags[name])) for name in tags]
    if moves and not moves[-1].done and moves[-1].version != champion_of(model):
        moves.pop()
    return moves


def settle(tracking: Tracking) -> Move | None:
    """Marks a last move that was killed after it took place as done; None if none was."""
    moves = read_moves(tracking)
    if not moves or moves[-1].done:
        return None
    settled = replace(moves[-1], done=True)
    _write(settled, tracking)
    return settled


def previous_champion(tracking: Tracking) -> int:
    """Returns the version that a rollback leads to.

    Promotions stack up, and a rollback takes the topmost off: two rollbacks lead two back.

    Raises:
        HemlineError: there is no champion, none before it, or it was not `hemline` that moved it.
    """
    now = champion(tracking)
    if now is None:
        raise HemlineError(
            f"the registry {tracking.registry_address} has no champion of {tracking.model_name} "
            "to roll back"
        )
    stack = _stacked(read_moves(tracking))
    if not stack or stack[-1] != now:
        raise HemlineError(
            f"the alias {CHAMPION} was set to version {now} by other means: which version it "
            "pointed at before is not recorded; `hemline rollback --to VERSION` names one"
        )
    if len(stack) == 1:
        raise HemlineError(
            f"version {now} is the first champion: there is no earlier one; "
            "`hemline promote VERSION` makes another one champion"
        )
    return stack[-2]


def was_champion(version: int, tracking: Tracking) -> bool:
    """Returns whether a version ever was champion, by a move or before the first one."""
    return any(version in (move.version, move.previous) for move in read_moves(tracking))


def was_rolled_back(version: int, tracking: Tracking) -> Move | None:
    """Returns the rollback that took a version out of use; None if none did."""
    for move in reversed(read_moves(tracking)):
        if move.version == version:
            return None
        if move.action == "rollback" and move.previous == version:
            return move
    return None


def move_champion(
    action: Action, version: int, *, expected: int | None, who: str, tracking: Tracking
) -> None:
    """Makes a version champion, unless it is already.

    `expected` is the champion that the decision was based on.

    Raises:
        HemlineError: another version became champion meanwhile.
    """
    settle(tracking)
    now = champion(tracking)
    if now == version:
        return
    if now != expected:
        raise HemlineError(
            f"version {now} became champion meanwhile, where it was "
            f"{'none' if expected is None else expected}: run the same command again"
        )
    moves = read_moves(tracking)
    move = Move(
        number=moves[-1].number + 1 if moves else 1,
        action=action,
        version=version,
        previous=now,
        time=datetime.now(UTC).isoformat(timespec="seconds"),
        who=who,
        done=False,
    )
    _write(move, tracking)
    tracking.client().set_registered_model_alias(tracking.model_name, CHAMPION, str(version))
    _write(replace(move, done=True), tracking)


def _stacked(moves: list[Move]) -> list[int]:
    """Returns the champions that rollbacks would lead through, the present one last."""
    stack: list[int] = []
    for move in moves:
        if move.action == "rollback":
            while stack and stack[-1] != move.version:
                stack.pop()
        elif move.previous is not None and stack[-1:] != [move.previous]:
            stack.append(move.previous)  # it became champion by other means
        if stack[-1:] != [move.version]:
            stack.append(move.version)
    return stack


def _write(move: Move, tracking: Tracking) -> None:
    name = f"{_MOVE_PREFIX}{move.number:05d}"
    tracking.client().set_registered_model_tag(tracking.model_name, name, json.dumps(asdict(move)))
