"""Brings a journal's metrics to MLflow, in order, each once.

The driver delivers in the background, and notes beside the journal how far it got. It may be
killed at any moment and started again, and the store may be down meanwhile.
"""

import logging
from collections.abc import Iterable
from pathlib import Path
from threading import Event, Thread
from types import TracebackType

import requests
from mlflow import environment_variables as settings
from mlflow.entities import Metric

from components.credentials import without_credentials
from components.errors import HemlineError
from components.files import read_json, write_json
from components.tracking.journal import Reader, Row
from components.tracking.metric_names import metric_name
from components.tracking.runs import Tracking, log_in

_METRICS_PER_CALL = 1000  # MLflow's limit
_ROWS_AT_ONCE = 100  # then what arrived is noted
_SECONDS_BETWEEN_LOOKS = 1.0
_FIRST_PAUSE_S = 2.0  # after a failed delivery, then twice as long each time
_LONGEST_PAUSE_S = 30.0
_LONGEST_PAUSE_AT_END_S = 5.0
_SILENT_WAIT_S = 2.0
_PATIENCE_INTERRUPTED_S = 10.0
_ANSWER_TIMEOUT_S = 30.0
_REASON_LENGTH = 500

_log = logging.getLogger(__name__)


class Delivery:
    """Delivers a journal to a run while its block lasts, in the background; the rest at the end.

    What was delivered is noted in a file beside the journal, after the store has taken it. Killed
    in between, the next delivery sends the same rows with the same timestamps again, which the
    store recognises. A store that does not answer is asked again and again.

    The journal need not exist yet, and others write it meanwhile. The end of the block waits
    `patience_s` for the store; when the block was interrupted (by Ctrl-C, say), seconds only.
    """

    def __init__(
        self, journal: Path, tracking: Tracking, run_id: str, *, patience_s: float = 600
    ) -> None:
        self._journal = journal
        self._tracking = tracking
        self._run_id = run_id
        self._patience_s = patience_s
        self._note = journal.with_suffix(".delivered.json")
        self._delivered = self._read_note()
        self._reader = Reader(journal, after=self._delivered)
        self._waiting: list[Row] = []
        self._failure: str | None = None  # why the last try failed
        self._is_ending = self._has_given_up = False
        self._wake = Event()
        # a daemon: a call that hangs must not keep the process from ending
        self._thread = Thread(target=self._run, name="metrics to MLflow", daemon=True)

    def __enter__(self) -> "Delivery":
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Delivers what is left.

        Raises:
            HemlineError: the store did not take it in time; not raised over another exception.
        """
        patience_s = self._patience_s
        if error is not None and not isinstance(error, Exception):  # interrupted
            patience_s = min(patience_s, _PATIENCE_INTERRUPTED_S)
        try:
            self._finish(patience_s)
        finally:
            self._has_given_up = True
            self._wake.set()
        num_left = self._num_left() if self._thread.is_alive() else 0
        if num_left == 0:
            return
        message = (
            f"MLflow at {self._tracking.address} did not take {num_left} rows of metrics within "
            f"{patience_s:.0f} s ({self._failure or 'no answer'}); they are kept in "
            f"{self._journal}: when the store answers, run the same command again, which delivers "
            "them and does not train again what is trained"
        )
        if error is None:
            raise HemlineError(message)
        _log.warning("%s", message)

    def _finish(self, patience_s: float) -> None:
        self._is_ending = True
        self._wake.set()
        silent_s = min(patience_s, _SILENT_WAIT_S)
        self._thread.join(silent_s)
        if self._thread.is_alive():
            _log.warning(
                "waiting up to %.0f s for MLflow at %s to take the last %d rows of metrics",
                patience_s,
                self._tracking.address,
                self._num_left(),
            )
            self._thread.join(patience_s - silent_s)

    def _run(self) -> None:
        pause_s = _FIRST_PAUSE_S
        while not self._has_given_up:
            is_last_look = self._is_ending  # by then, all rows had been written
            try:
                self._deliver_new()
            except Exception as error:  # of any kind: training continues
                self._report_failure(error)
                longest_s = _LONGEST_PAUSE_AT_END_S if self._is_ending else _LONGEST_PAUSE_S
                self._wake.wait(min(pause_s, longest_s))
                pause_s *= 2
            else:
                if is_last_look:
                    return
                self._wake.wait(_SECONDS_BETWEEN_LOOKS)
                pause_s = _FIRST_PAUSE_S
            self._wake.clear()

    def _deliver_new(self) -> None:
        self._waiting += self._reader.read()
        while self._waiting and not self._has_given_up:
            rows = self._waiting[:_ROWS_AT_ONCE]
            self._send(rows)
            if self._has_given_up:
                return  # the note is another delivery's now
            self._remember(rows)
            del self._waiting[:_ROWS_AT_ONCE]
            if self._failure is not None:
                _log.warning("metrics reach MLflow at %s again", self._tracking.address)
            self._failure = None

    def _send(self, rows: Iterable[Row]) -> None:
        _check_answers(log_in(self._tracking.uri))
        metrics = [
            Metric(metric_name(name), value, row.timestamp_ms, row.step)
            for row in rows
            for name, value in row.metrics.items()
        ]
        client = self._tracking.client()
        for start in range(0, len(metrics), _METRICS_PER_CALL):
            client.log_batch(self._run_id, metrics=metrics[start : start + _METRICS_PER_CALL])

    def _remember(self, rows: Iterable[Row]) -> None:
        delivered = self._delivered | {row.kind: row.step for row in rows}
        write_json({"run_id": self._run_id, "last_steps": delivered}, self._note)
        self._delivered = delivered

    def _read_note(self) -> dict[str, int]:
        """Returns the last delivered step of each kind; none where it went to another run."""
        if not self._note.exists():
            return {}
        note = read_json(self._note)
        return dict(note["last_steps"]) if note["run_id"] == self._run_id else {}

    def _num_left(self) -> int:
        return len(Reader(self._journal, after=self._delivered).read())

    def _report_failure(self, error: Exception) -> None:
        reason = without_credentials(" ".join(str(error).split()))[:_REASON_LENGTH]
        if self._failure is None and not self._has_given_up:
            _log.warning(
                "metrics do not reach MLflow at %s (%s: %s); training continues, they are kept in "
                "%s and sent when it answers",
                self._tracking.address,
                type(error).__name__,
                reason,
                self._journal,
            )
        self._failure = reason


def _check_answers(uri: str) -> None:
    """Raises an exception when a server does not answer, within seconds.

    A call that meets a server which is down tries for a minute inside MLflow, some of it asleep:
    that the server is back goes unnoticed. How often and how long MLflow
    tries is set for the whole process only. Login and certificates are those of MLflow's settings.
    """
    if not uri.startswith(("http://", "https://")):
        return
    user = settings.MLFLOW_TRACKING_USERNAME.get()
    password = settings.MLFLOW_TRACKING_PASSWORD.get()
    token = settings.MLFLOW_TRACKING_TOKEN.get()
    is_checked = not settings.MLFLOW_TRACKING_INSECURE_TLS.get()
    response = requests.get(
        f"{uri.rstrip('/')}/health",
        auth=(user, password) if user and password else None,
        headers={"Authorization": f"Bearer {token}"} if token else {},
        verify=is_checked and (settings.MLFLOW_TRACKING_SERVER_CERT_PATH.get() or True),
        cert=settings.MLFLOW_TRACKING_CLIENT_CERT_PATH.get(),
        timeout=_ANSWER_TIMEOUT_S,
    )
    if response.status_code >= 500:
        raise ConnectionError(f"it answers with status {response.status_code}")
