"""The journal and its delivery to real MLflow stores; restarts, failures and a killed server."""

import json
import logging
import math
import os
import pickle
import resource
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from builders import PROJECT
from mlflow import MlflowClient

from components.errors import HemlineError
from components.tracking import delivery as module
from components.tracking.delivery import Delivery
from components.tracking.journal import Journal
from components.tracking.runs import Tracking, log_file, start_run


@pytest.fixture(scope="module")
def tracking(tmp_path_factory: pytest.TempPathFactory) -> Tracking:
    folder = tmp_path_factory.mktemp("mlflow")
    return Tracking(uri=f"sqlite:///{folder}/mlflow.db", artifact_root=str(folder / "files"))


@pytest.fixture
def run_id(tracking: Tracking) -> str:
    return start_run(tracking, params={}, tags={})


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "metrics.jsonl"


@pytest.fixture
def nowhere() -> Tracking:
    """A server that is not there."""
    return Tracking(uri=f"http://127.0.0.1:{_free_port()}", artifact_root="")


def test_a_resumed_training_writes_no_step_twice(path: Path) -> None:
    first = Journal(path)
    for step in (10, 20, 30):
        first.append({"loss": step / 10}, step=step)
    first.append({"map": 50.0}, step=0, kind="epoch")
    resumed = pickle.loads(pickle.dumps(first))  # as a worker gets it
    for step in (20, 30, 40):
        resumed.append({"loss": -1.0}, step=step)
    for step in (0, 1):
        resumed.append({"map": 60.0 + step}, step=step, kind="epoch")
    assert [(row["kind"], row["step"], *row["metrics"].values()) for row in _lines(path)] == [
        ("step", 10, 1.0),
        ("step", 20, 2.0),
        ("step", 30, 3.0),
        ("epoch", 0, 50.0),
        ("step", 40, -1.0),
        ("epoch", 1, 61.0),
    ]


def test_a_row_written_in_part_is_cut_off_and_written_again(path: Path) -> None:
    journal = Journal(path)
    journal.append({"loss": 1.0}, step=1)
    start = path.stat().st_size
    journal.append({"loss": 2.0}, step=2)
    whole = path.read_bytes()
    for length in range(start, len(whole)):  # all places where a kill may leave it
        path.write_bytes(whole[:length])
        again = Journal(path)
        again.append({"loss": 2.5}, step=2)
        again.append({"loss": 3.0}, step=3)
        assert [row["metrics"]["loss"] for row in _lines(path)] == [1.0, 2.5, 3.0]


def test_a_disk_that_fills_up_is_named_and_costs_no_row(path: Path) -> None:
    journal = Journal(path)
    journal.append({"loss": 1.0}, step=1)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 20, limits[1]))
    try:
        with pytest.raises(HemlineError, match=r"metrics\.jsonl cannot be written"):
            journal.append({"loss": 2.0}, step=2)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert not path.read_bytes().endswith(b"\n")  # so the row was indeed written in part
    journal.append({"loss": 2.0}, step=2)
    assert [row["step"] for row in _lines(path)] == [1, 2]


def test_rows_arrive_in_order_with_their_own_timestamps(
    path: Path, tracking: Tracking, run_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = _spy(monkeypatch)
    journal = Journal(path)
    wide = {f"m{number}": float(number) for number in range(1001)}  # more than a call takes
    with Delivery(path, tracking, run_id):  # before the journal is there
        for step in range(1, 601):
            journal.append({"a": step / 8, "b": -step, "none": None}, step=step)
            if step % 200 == 0:
                journal.append({"map": step / 6}, step=step, kind="epoch")
        journal.append(wide, step=601)
    rows = _lines(path)
    assert len(rows) == 604
    assert _arrived(tracking, run_id) == [
        (name, row["step"], value, row["timestamp_ms"])
        for row in rows
        for name, value in row["metrics"].items()
    ]
    assert max(len(batch) for batch in sent) <= 1000
    assert len(sent) < 20  # batches, not rows


def test_values_that_are_not_finite_arrive_once(
    path: Path, tracking: Tracking, run_id: str
) -> None:
    journal = Journal(path)
    journal.append({"nan": math.nan, "inf": math.inf, "minus": -math.inf}, step=1)
    for _ in range(2):  # the second time without the note of the first
        _deliver(path, tracking, run_id)
        _note(path).unlink()
    assert len(_arrived(tracking, run_id)) == 3
    metrics = tracking.client().get_run(run_id).data.metrics
    assert math.isnan(metrics["train/nan"])
    assert metrics["train/inf"] == -metrics["train/minus"] == sys.float_info.max  # MLflow's way


def test_killed_after_sending_the_same_rows_are_sent_again_and_stored_once(
    path: Path, tracking: Tracking, run_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = Journal(path)
    _append(journal, 1, 3)
    _deliver(path, tracking, run_id)
    before = _note(path).read_bytes()
    _append(journal, 4, 5)
    _deliver(path, tracking, run_id)
    _note(path).write_bytes(before)  # as a driver leaves it that was killed after sending 4 and 5
    time.sleep(0.01)  # a later millisecond: a new timestamp would make new rows
    _append(journal, 6, 6)
    sent = _spy(monkeypatch)
    _deliver(path, tracking, run_id)
    assert [metric.step for batch in sent for metric in batch] == [4, 5, 6]
    assert _steps(tracking, run_id) == [1, 2, 3, 4, 5, 6]


def test_a_lost_tail_of_the_journal_is_not_delivered_a_second_time(
    path: Path, tracking: Tracking, run_id: str
) -> None:
    journal = Journal(path)
    _append(journal, 1, 4)
    _deliver(path, tracking, run_id)
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:2]))  # power went
    _append(Journal(path), 2, 6)
    _deliver(path, tracking, run_id)
    assert _steps(tracking, run_id) == [1, 2, 3, 4, 5, 6]


def test_another_run_gets_all_rows(path: Path, tracking: Tracking, run_id: str) -> None:
    _append(Journal(path), 1, 3)
    other = start_run(tracking, params={}, tags={})
    for run in (run_id, other):
        _deliver(path, tracking, run)
    assert _steps(tracking, other) == _steps(tracking, run_id) == [1, 2, 3]


def test_a_torn_row_waits_for_its_end_and_a_damaged_line_is_named(
    path: Path, tracking: Tracking, run_id: str, caplog: pytest.LogCaptureFixture
) -> None:
    _append(Journal(path), 1, 2)
    with path.open("ab") as file:
        file.write(b'\0\0garbage\n{"kind": "step", "step": 3, "times')
    with Delivery(path, tracking, run_id):
        _wait_until(lambda: _steps(tracking, run_id) == [1, 2])
        assert sum("garbage" in text for text in caplog.messages) == 1
        _append(Journal(path), 3, 5)  # a new worker, which cuts the torn row off
    assert _steps(tracking, run_id) == [1, 2, 3, 4, 5]


def test_delivery_stops_and_goes_on_with_one_line_each(
    path: Path,
    tracking: Tracking,
    run_id: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(module, "_FIRST_PAUSE_S", 0.01)
    log_batch, failures = MlflowClient.log_batch, iter(range(4))

    def failing(*args, **kwargs):
        if next(failures, None) is not None:
            raise OSError("the store\nhas a cold")
        return log_batch(*args, **kwargs)

    monkeypatch.setattr(MlflowClient, "log_batch", failing)
    journal = Journal(path)
    with Delivery(path, tracking, run_id):
        _append(journal, 1, 3)
        _wait_until(lambda: len(_steps(tracking, run_id)) == 3)
        _append(journal, 4, 5)
    assert next(failures, None) is None
    assert _steps(tracking, run_id) == [1, 2, 3, 4, 5]
    stopped, goes_on = caplog.messages
    assert f"do not reach MLflow at {tracking.uri} (OSError: the store has a cold)" in stopped
    assert "again" in goes_on


def test_when_patience_runs_out_nothing_is_lost(
    path: Path,
    nowhere: Tracking,
    tracking: Tracking,
    run_id: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    _append(Journal(path), 1, 7)
    start = time.monotonic()
    with pytest.raises(HemlineError) as caught:
        _deliver(path, nowhere, run_id, patience_s=3)
    assert 3 <= time.monotonic() - start < 8
    for part in (nowhere.uri, " 7 rows", str(path), "run the same command again"):
        assert part in str(caught.value)
    assert "Connection refused" in str(caught.value)  # MLflow itself would try for minutes
    assert caplog.messages[-1] == (
        f"waiting up to 3 s for MLflow at {nowhere.uri} to take the last 7 rows of metrics"
    )
    _deliver(path, tracking, run_id)  # the same command, when the store is back
    assert _steps(tracking, run_id) == [1, 2, 3, 4, 5, 6, 7]


def test_a_call_that_hangs_does_not_hold_up_the_end(
    path: Path, tracking: Tracking, run_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    log_batch = MlflowClient.log_batch
    is_called, may_return, has_returned = (threading.Event() for _ in range(3))

    def hanging(*args, **kwargs):
        is_called.set()
        may_return.wait(60)
        log_batch(*args, **kwargs)
        has_returned.set()

    monkeypatch.setattr(MlflowClient, "log_batch", hanging)
    _append(Journal(path), 1, 2)
    start = time.monotonic()
    with pytest.raises(HemlineError, match=r"did not take 2 rows .*no answer"):
        _deliver(path, tracking, run_id, patience_s=0.5)
    assert time.monotonic() - start < 10
    assert is_called.wait(60)
    monkeypatch.undo()
    may_return.set()
    assert has_returned.wait(60)
    _wait_until(
        lambda: not any(thread.name == "metrics to MLflow" for thread in threading.enumerate())
    )
    assert _steps(tracking, run_id) == [1, 2]
    assert not _note(path).exists()  # by now, that is the next delivery's file
    _deliver(path, tracking, run_id)  # what the late call brought is not stored twice
    assert _steps(tracking, run_id) == [1, 2]


@pytest.mark.parametrize("error", [KeyError, KeyboardInterrupt])
def test_an_exception_of_training_is_kept(
    *,
    error: type[BaseException],
    path: Path,
    nowhere: Tracking,
    tracking: Tracking,
    run_id: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(module, "_PATIENCE_INTERRUPTED_S", 0.5)
    patience_s = 0.5 if error is KeyError else 600
    _append(Journal(path), 1, 2)
    start = time.monotonic()
    with pytest.raises(error):
        _deliver(path, nowhere, run_id, patience_s=patience_s, error=error)
    assert time.monotonic() - start < 10
    assert f"they are kept in {path}" in caplog.messages[-1]
    _append(Journal(path), 3, 4)
    with pytest.raises(error):
        _deliver(path, tracking, run_id, error=error)
    assert _steps(tracking, run_id) == [1, 2, 3, 4]


@pytest.mark.slow
def test_a_server_that_is_killed_and_comes_back_gets_all_rows(
    path: Path,
    tracking: Tracking,
    run_id: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.WARNING, logger=module.__name__)
    monkeypatch.setattr(module, "_LONGEST_PAUSE_S", 2.0)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "3")  # as all commands set it
    port = _free_port()
    server = Tracking(uri=f"http://127.0.0.1:{port}", artifact_root="")
    journal = Journal(path)
    with ExitStack() as until_delivered, Delivery(path, server, run_id, patience_s=60):
        with _serving(tracking, port):
            _append(journal, 1, 20)
            journal.append({"loss": math.nan}, step=21)
            _wait_until(lambda: len(_steps(tracking, run_id)) == 21)
        slowest_s = _append(journal, 22, 60)
        _wait_until(lambda: any("do not reach" in text for text in caplog.messages))
        slowest_s = max(slowest_s, _append(journal, 61, 100))
        assert len(_steps(tracking, run_id)) == 21
        until_delivered.enter_context(_serving(tracking, port))  # what is stored is answered, too
        _append(journal, 101, 110)
        _wait_until(lambda: len(_steps(tracking, run_id)) == 110)
        _append(journal, 111, 120)
    assert slowest_s < 5, "MLflow's retries of a server that is gone take 14 s"
    assert _steps(tracking, run_id) == list(range(1, 121))
    losses = [value for _, _, value, _ in _arrived(tracking, run_id)]
    assert losses == [0 if step == 21 else step / 4 for step in range(1, 121)]  # NaN lies as 0
    ours = [record for record in caplog.records if record.name == module.__name__]
    assert len(ours) == 2, "one when it stopped, one when it went on"


@pytest.mark.slow
def test_a_server_that_hangs_is_an_error_in_time_and_files_get_more_of_it(
    tracking: Tracking, run_id: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = _free_port()
    server = Tracking(uri=f"http://127.0.0.1:{port}", artifact_root="")
    quick = {"MLFLOW_HTTP_REQUEST_TIMEOUT": "1", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1"}
    for name, value in quick.items():
        monkeypatch.setenv(name, value)
    file = tmp_path / "file.txt"
    file.write_text("text")
    with _serving(tracking, port) as group:
        assert server.client().get_run(run_id)
        os.killpg(group, signal.SIGSTOP)
        start = time.monotonic()
        with pytest.raises(HemlineError, match="does not answer") as error:
            server.client().get_run(run_id)
        assert time.monotonic() - start < 10
        assert f"{port} does not answer" in str(error.value)
        assert "MLFLOW_TRACKING_URI names it" in str(error.value)
        command = subprocess.run(
            [sys.executable, "-m", "pipelines", "promote"],
            env={**os.environ, "MLFLOW_TRACKING_URI": server.uri, "PYTHONPATH": str(PROJECT)},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert command.returncode == 1
        assert f"hemline: the MLflow store {server.uri} does not answer" in command.stderr
        assert "Traceback" not in command.stderr
        # a server that is busy with a file for longer than other answers may take
        resumed = threading.Timer(4, os.killpg, (group, signal.SIGCONT))
        resumed.start()
        log_file(file, tracking=server, run_id=run_id)  # its first request asks where to
        resumed.join()
        assert {name: os.environ[name] for name in quick} == quick
        assert [file.path for file in tracking.client().list_artifacts(run_id)] == ["file.txt"]


@pytest.mark.parametrize(
    ("login", "told"),
    [
        ({"MLFLOW_TRACKING_USERNAME": "me", "MLFLOW_TRACKING_PASSWORD": "x"}, "Basic bWU6eA=="),
        ({"MLFLOW_TRACKING_TOKEN": "t0ken"}, "Bearer t0ken"),
        ({}, None),
    ],
)
def test_a_server_is_asked_with_the_login_that_mlflow_uses(monkeypatch, login, told) -> None:
    for name, value in login.items():
        monkeypatch.setenv(name, value)
    with _answering(401) as (uri, asked):
        module._check_answers(uri)
    assert asked == [("/health", told)]


def test_a_proxy_without_its_server_does_not_answer() -> None:
    with _answering(503) as (uri, _), pytest.raises(ConnectionError, match="with status 503"):
        module._check_answers(uri)


@contextmanager
def _answering(status: int) -> Iterator[tuple[str, list[tuple[str, str | None]]]]:
    """Answers requests by a status; gives the address, and path and login of what was asked."""
    asked: list[tuple[str, str | None]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append((self.path, self.headers["Authorization"]))
            self.send_response(status)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", asked
        server.shutdown()


def _deliver(
    path: Path,
    tracking: Tracking,
    run_id: str,
    *,
    patience_s: float = 60,
    error: type[BaseException] | None = None,
) -> None:
    with Delivery(path, tracking, run_id, patience_s=patience_s):
        if error is not None:
            raise error


def _append(journal: Journal, first: int, last: int) -> float:
    """Writes rows, and returns the seconds that the slowest of them took."""
    slowest_s = 0.0
    for step in range(first, last + 1):
        start = time.monotonic()
        journal.append({"loss": step / 4}, step=step)
        slowest_s = max(slowest_s, time.monotonic() - start)
    return slowest_s


def _lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def _note(path: Path) -> Path:
    return path.with_name("metrics.delivered.json")


def _arrived(tracking: Tracking, run_id: str) -> list[tuple[str, int, float, int]]:
    """Returns name, step, value and timestamp of what the store has, in the order of arrival."""
    query = (
        "SELECT replace(key, 'train/', ''), step, value, timestamp FROM metrics "
        "WHERE run_uuid = ? ORDER BY rowid"
    )
    with sqlite3.connect(tracking.uri.removeprefix("sqlite:///")) as database:
        return database.execute(query, [run_id]).fetchall()


def _steps(tracking: Tracking, run_id: str) -> list[int]:
    return [step for _, step, _, _ in _arrived(tracking, run_id)]


def _spy(monkeypatch: pytest.MonkeyPatch) -> list[list]:
    """Returns a list that the metrics of every call will be added to."""
    log_batch, sent = MlflowClient.log_batch, []

    def spying(self, run_id, metrics):
        sent.append(metrics)
        return log_batch(self, run_id, metrics=metrics)

    monkeypatch.setattr(MlflowClient, "log_batch", spying)
    return sent


def _wait_until(condition: Callable[[], bool], timeout_s: float = 120) -> None:
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.05)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def _serving(tracking: Tracking, port: int) -> Iterator[int]:
    """Runs MLflow's server with a store until it is killed; gives its process group."""
    command = [sys.executable, "-m", "mlflow", "server", "--workers", "1", "--port", str(port)]
    command += ["--host", "127.0.0.1", "--backend-store-uri", tracking.uri]
    process = subprocess.Popen(
        command,
        env=os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},  # starts faster
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        _wait_until(lambda: _is_up(port) or process.poll() is not None)
        assert process.poll() is None, "the server did not start"
        yield process.pid
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _is_up(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5):
            return True
    except OSError:
        return False
