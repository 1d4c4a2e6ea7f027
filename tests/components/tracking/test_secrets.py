"""A store that does not answer: one message, in which there is no password."""

import logging
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest

from components.errors import HemlineError
from components.provenance import origin, recording
from components.provenance.origin import DataSet
from components.registry import promotion, registration, versions
from components.registry.package import NETWORK_FILE, PACKAGE_FILE
from components.registry.versions import RegisteredVersion
from components.tracking import runs
from components.tracking.delivery import Delivery
from components.tracking.journal import Journal
from components.tracking.runs import Tracking

SECRET = "s3cret"
STORE = Tracking(uri=f"http://user:{SECRET}@127.0.0.1:9", artifact_root="")
VERSION = RegisteredVersion(name="hemline", version=1)
RUN = "0123456789abcdef0123456789abcdef"
OF_RUN = {"tracking": STORE, "run_id": RUN}
DATA = DataSet(name="noise", source="raw", digest="0" * 64, counts={})

ASKS: dict[str, Callable[[Path], object]] = {
    "start_run": lambda _: runs.start_run(STORE, params={}, tags={}),
    "set_tags": lambda _: runs.set_tags({"a": "b"}, **OF_RUN),
    "continue_run": lambda path: runs.continue_or_start_run(path, STORE, params={}, tags={}),
    "read_run": lambda path: runs.read_run(path, STORE),
    "ending": lambda _: _end(),
    "log_metrics": lambda _: runs.log_metrics({"a": 1.0}, **OF_RUN),
    "metric_values": lambda _: runs.metric_values(RUN, "a", tracking=STORE),
    "log_file": lambda path: runs.log_file(path, **OF_RUN),
    "deliver": lambda path: _deliver(path.with_name("metrics.jsonl")),
    "register": lambda path: registration.register_package(path.parent, card="# Card\n", **OF_RUN),
    "resolve": lambda _: versions.resolve(VERSION.uri, STORE),
    "download": lambda _: versions.download(VERSION, tracking=STORE),
    "champion": lambda _: versions.champion(STORE),
    "read_tag": lambda _: versions.read_tag(VERSION, "a", tracking=STORE),
    "write_tag": lambda _: versions.write_tag(VERSION, "a", "b", tracking=STORE),
    "run_file": lambda path: versions.run_file(VERSION, "a", path.parent, tracking=STORE),
    "champion_embeddings": lambda _: promotion.champion_embeddings(STORE),
    "read_moves": lambda _: promotion.read_moves(STORE),
    "settle": lambda _: promotion.settle(STORE),
    "previous_champion": lambda _: promotion.previous_champion(STORE),
    "was_champion": lambda _: promotion.was_champion(1, STORE),
    "was_rolled_back": lambda _: promotion.was_rolled_back(1, STORE),
    "move_champion": lambda _: promotion.move_champion(
        "promote", 1, expected=None, who="a test", tracking=STORE
    ),
    "read_champion": lambda _: origin.read_champion(tracking=STORE),
    "read_origin": lambda _: origin.read_origin(RUN, tracking=STORE),
    "read_stages": lambda _: origin.read_stages(RUN, tracking=STORE),
    "read_libraries": lambda _: origin.read_libraries(RUN, tracking=STORE),
    "read_text": lambda _: origin.read_text(RUN, "a", tracking=STORE),
    "copy_outputs": lambda path: origin.copy_outputs(RUN, path.parent, tracking=STORE),
    "run_of": lambda _: origin.run_of(VERSION, tracking=STORE),
    "versions_of": lambda _: origin.versions_of(RUN, tracking=STORE),
    "find_runs": lambda _: origin.find_runs("c0ffee", run_file=None, tracking=STORE),
    "record_start": lambda _: recording.record_start(DATA, **OF_RUN),
    "tag_version": lambda _: recording.tag_version(VERSION, **OF_RUN),
}


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """One try, and no login left in the environment afterwards."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    for name in ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"):
        monkeypatch.setenv(name, "")  # so that it is put back
        monkeypatch.delenv(name)


@pytest.mark.parametrize("ask", ASKS.values(), ids=ASKS)
def test_nothing_that_is_raised_logged_or_printed_has_the_password(
    ask, tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd
) -> None:
    caplog.set_level(logging.DEBUG)
    for name in (NETWORK_FILE, PACKAGE_FILE):
        (tmp_path / name).touch()
    run_file = tmp_path / "run.json"
    run_file.write_text(f'{{"run_id": "{RUN}"}}')
    with pytest.raises(
        HemlineError, match=r"127\.0\.0\.1:9 (does not answer|did not take)"
    ) as told:
        ask(run_file)
    logging.getLogger("a program").error("failed", exc_info=told.value)
    chain = "".join(traceback.format_exception(told.value))
    for text in (str(told.value), chain, caplog.text, *capfd.readouterr()):
        assert SECRET not in text


@pytest.mark.parametrize("name", ["resolve", "download", "champion", "read_tag", "versions_of"])
def test_a_registry_that_does_not_answer_is_named_and_not_the_store_of_runs(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    apart = Tracking(
        uri=f"sqlite:///{tmp_path}/mlflow.db", artifact_root="", registry_uri=STORE.uri
    )
    monkeypatch.setitem(globals(), "STORE", apart)
    with pytest.raises(HemlineError, match=r"127\.0\.0\.1:9 does not answer") as told:
        ASKS[name](tmp_path)
    assert SECRET not in str(told.value)
    assert "sqlite" not in str(told.value)


def _end() -> None:
    with runs.ending(STORE, RUN):
        pass


def _deliver(path: Path) -> None:
    Journal(path).append({"loss": 1.0}, step=1)
    with Delivery(path, STORE, RUN, patience_s=0.1):
        pass
