"""The champion's moves in a real registry: their order, what a kill leaves, who else may move."""

import os
import random
from itertools import count
from pathlib import Path

import pytest
from mlflow import MlflowClient

from components.errors import HemlineError
from components.registry import promotion
from components.registry.promotion import (
    champion_embeddings,
    move_champion,
    previous_champion,
    read_moves,
    settle,
    was_champion,
    was_rolled_back,
)
from components.registry.versions import RegisteredVersion, champion, write_tag
from components.tracking.runs import Tracking

NUM_VERSIONS = 4


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Tracking:
    folder = tmp_path_factory.mktemp("mlflow")
    return Tracking(uri=f"sqlite:///{folder}/mlflow.db", artifact_root=str(folder / "files"))


@pytest.fixture
def tracking(store: Tracking) -> Tracking:
    """A registry of a few versions, none of them champion."""
    client = store.client()
    if client.search_registered_models():
        client.delete_registered_model("hemline")
    client.create_registered_model("hemline")
    for _ in range(NUM_VERSIONS):
        client.create_model_version("hemline", source="file:///nowhere", run_id=None)
    return store


class KilledError(BaseException):
    """Stands for the end of the process."""


@pytest.fixture
def killed_at(monkeypatch):
    """Returns a function that lets the process end before a write of the registry, by its name."""

    def kill(name: str, *, nth: int = 1) -> None:
        calls, write = count(1), getattr(MlflowClient, name)

        def stop(*arguments: object) -> object:
            if next(calls) == nth:
                monkeypatch.setattr(MlflowClient, name, write)
                raise KilledError
            return write(*arguments)

        monkeypatch.setattr(MlflowClient, name, stop)

    return kill


def promote(version: int, tracking: Tracking) -> None:
    move_champion(
        "promote", version, expected=champion(tracking), who="ann@there", tracking=tracking
    )


def roll_back(tracking: Tracking) -> None:
    move_champion(
        "rollback",
        previous_champion(tracking),
        expected=champion(tracking),
        who="bob@there",
        tracking=tracking,
    )


def told(tracking: Tracking) -> list[tuple[int, str, int, int | None]]:
    return [(m.number, m.action, m.version, m.previous) for m in read_moves(tracking)]


def test_moves_are_remembered_in_order_with_time_and_who(tracking) -> None:
    assert champion(tracking) is None
    promote(1, tracking)
    promote(3, tracking)
    roll_back(tracking)
    assert champion(tracking) == 1
    assert told(tracking) == [
        (1, "promote", 1, None),
        (2, "promote", 3, 1),
        (3, "rollback", 1, 3),
    ]
    moves = read_moves(tracking)
    assert [m.who for m in moves] == ["ann@there", "ann@there", "bob@there"]
    assert sorted(m.time for m in moves) == [m.time for m in moves]
    assert all(m.done for m in moves)


def test_promoting_the_champion_is_no_move(tracking) -> None:
    promote(1, tracking)
    promote(1, tracking)
    assert told(tracking) == [(1, "promote", 1, None)]


@pytest.mark.parametrize("seed", range(2))
def test_any_order_of_moves_leads_back_the_way_it_came(tracking, seed) -> None:
    rng = random.Random(seed)
    stack: list[int] = []
    for _ in range(12):
        if len(stack) > 1 and rng.random() < 0.4:
            roll_back(tracking)
            stack.pop()
        else:
            version = rng.randint(1, NUM_VERSIONS)
            promote(version, tracking)
            if stack[-1:] != [version]:
                stack.append(version)
        assert champion(tracking) == stack[-1]
    for expected in reversed(stack[:-1]):
        roll_back(tracking)
        assert champion(tracking) == expected
    with pytest.raises(HemlineError, match="is the first champion"):
        previous_champion(tracking)


@pytest.mark.parametrize(
    ("write", "nth", "moved"),
    [
        ("set_registered_model_tag", 1, False),
        ("set_registered_model_alias", 1, False),
        ("set_registered_model_tag", 2, True),
    ],
)
def test_a_move_that_was_killed_ends_as_one_that_was_not(
    tracking, killed_at, write, nth, moved
) -> None:
    promote(1, tracking)
    killed_at(write, nth=nth)
    with pytest.raises(KilledError):
        promote(2, tracking)
    assert champion(tracking) == (2 if moved else 1)
    assert len(told(tracking)) == (2 if moved else 1), "only what took place"
    promote(2, tracking)
    assert champion(tracking) == 2
    assert told(tracking) == [(1, "promote", 1, None), (2, "promote", 2, 1)]
    assert all(m.done for m in read_moves(tracking))


def test_a_move_that_never_took_place_leaves_no_trace(tracking, killed_at) -> None:
    promote(1, tracking)
    killed_at("set_registered_model_alias")
    with pytest.raises(KilledError):
        promote(2, tracking)
    promote(3, tracking)
    assert told(tracking) == [(1, "promote", 1, None), (2, "promote", 3, 1)]
    assert not was_champion(2, tracking)


def test_a_killed_rollback_is_known_and_finished_once(tracking, killed_at) -> None:
    for version in (1, 2, 3):
        promote(version, tracking)
    killed_at("set_registered_model_tag", nth=2)
    with pytest.raises(KilledError):
        roll_back(tracking)
    unfinished = settle(tracking)
    assert unfinished is not None
    assert (unfinished.action, unfinished.version, unfinished.done) == ("rollback", 2, True)
    assert settle(tracking) is None
    assert champion(tracking) == 2


def test_a_decision_on_another_champion_moves_nothing(tracking) -> None:
    promote(1, tracking)
    promote(2, tracking)
    with pytest.raises(HemlineError, match="version 2 became champion meanwhile, where it was 1"):
        move_champion("promote", 3, expected=1, who="ann", tracking=tracking)
    assert champion(tracking) == 2
    assert len(told(tracking)) == 2


def test_a_champion_that_was_set_by_hand_is_a_step_back_too(tracking) -> None:
    promote(1, tracking)
    tracking.client().set_registered_model_alias("hemline", "champion", "2")
    with pytest.raises(HemlineError, match="other means"):
        previous_champion(tracking)
    promote(3, tracking)
    assert previous_champion(tracking) == 2
    roll_back(tracking)
    assert previous_champion(tracking) == 1


def test_what_was_rolled_back_is_told_until_it_is_champion_again(tracking) -> None:
    promote(1, tracking)
    promote(2, tracking)
    assert was_rolled_back(2, tracking) is None
    roll_back(tracking)
    rollback = was_rolled_back(2, tracking)
    assert rollback is not None
    assert rollback.who == "bob@there"
    assert was_rolled_back(1, tracking) is None
    promote(2, tracking)
    assert was_rolled_back(2, tracking) is None


def test_champion_and_embeddings_come_together(tracking) -> None:
    with pytest.raises(
        HemlineError, match="has no champion of hemline: `hemline promote` makes one"
    ):
        champion_embeddings(tracking)
    promote(1, tracking)
    with pytest.raises(HemlineError, match="version 1, has no embeddings: `hemline promote 1`"):
        champion_embeddings(tracking)
    first = RegisteredVersion(name="hemline", version=1)
    write_tag(first, promotion.EMBEDDINGS_TAG, "/shared/hemline-1", tracking=tracking)
    found = champion_embeddings(tracking)
    assert (found.version.uri, found.embeddings) == ("models:/hemline/1", "/shared/hemline-1")


def test_without_a_model_there_is_no_champion(tmp_path: Path) -> None:
    empty = Tracking(uri=f"sqlite:///{tmp_path}/mlflow.db", artifact_root=str(tmp_path))
    assert champion(empty) is None
    assert read_moves(empty) == []
    with pytest.raises(HemlineError, match="has no champion of hemline to roll back"):
        previous_champion(empty)


def test_a_store_that_does_not_answer_is_told(monkeypatch) -> None:
    monkeypatch.setitem(os.environ, "MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    nowhere = Tracking(uri="http://127.0.0.1:9", artifact_root="")
    with pytest.raises(HemlineError, match=r"127\.0\.0\.1:9 does not answer"):
        champion(nowhere)
