"""The report of a retrain: collected while it runs, written for programs and for people."""

import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from components import files
from components.credentials import without_credentials
from components.datasets.drift import Finding
from components.evaluation.verdict import Verdict
from pipelines.operations.retrain.state import Decision
from pipelines.shell import exit_codes
from pipelines.shell.reporting import notes

STEPS = (
    "lock",
    "fetch data",
    "look for news",
    "check data",
    "train",
    "gate and promote",
    "commit",
    "tag",
    "dvc push",
    "git push",
)

Outcome = Literal["promoted", "rejected", "nothing new", "failed"]

_EXIT_CODES: dict[Outcome, int] = {
    "promoted": exit_codes.OK,
    "rejected": exit_codes.REJECTED,
    "nothing new": exit_codes.NOTHING_NEW,
    "failed": exit_codes.FAILED,
}


@dataclass(kw_only=True)
class RetrainReport:
    """The facts about a retrain so far; None where there is none yet.

    Attributes:
        started: in UTC, ISO 8601.
        outcome: how it ended; "failed" until it has ended otherwise.
        step: the current step, or the last one.
        resumed: whether it resumed one that did not end.
        version: number of the model version that it made or found.
        champion_before: the champion when it began, be it resumed or not.
        num_images_before: number of images in the previous catalog.
        num_new_images: number of images that the previous catalog did not have.
        findings: how the data differs beyond what was expected.
        decision: how it learned what was new; None where there was no choice.
        commit: commit that holds `dvc.lock`.
        pushed: names of git's remotes, and "dvc" for DVC's.
        seconds: duration of each step.
    """

    started: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))
    outcome: Outcome = "failed"
    error: str | None = None
    step: str | None = None
    resumed: bool = False
    version: int | None = None
    champion_before: int | None = None
    champion_after: int | None = None
    verdict: Verdict | None = None
    num_images_before: int | None = None
    num_images: int | None = None
    num_new_images: int | None = None
    findings: tuple[Finding, ...] = ()
    decision: Decision | None = None
    commit: str | None = None
    tag: str | None = None
    pushed: list[str] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def exit_code(self) -> int:
        """What the outcome tells the scheduler."""
        return _EXIT_CODES[self.outcome]

    @contextmanager
    def at(self, step: str) -> Iterator[None]:
        """Announces a step, and times it."""
        notes.print(f"[{STEPS.index(step) + 1}/{len(STEPS)}] {step}", markup=False, style="bold")
        self.step = step
        start = time.monotonic()
        try:
            yield
        finally:
            self.seconds[step] = round(time.monotonic() - start, 2)

    def as_dict(self) -> dict[str, Any]:
        """Returns plain values: the attributes, the exit code, and the verdict as JSON has it."""
        composed = ("verdict", "decision")
        plain = {name: value for name, value in vars(self).items() if name not in composed}
        plain["grown"] = list(self.decision.grown) if self.decision else []
        plain["note"] = self.decision and self.decision.note
        plain["findings"] = [asdict(finding) for finding in self.findings]
        plain["verdict"] = self.verdict and self.verdict.as_dict()
        return {"outcome": self.outcome, "exit_code": self.exit_code, **plain}


@contextmanager
def written(report: RetrainReport, folder: Path) -> Iterator[None]:
    """Writes `retrain.json` and `retrain.md` when the block ends, however it ends."""
    try:
        yield
    except BaseException as error:
        report.outcome = "failed"
        report.error = without_credentials(str(error)) or type(error).__name__
        raise
    finally:
        files.write_json(report.as_dict(), folder / "retrain.json")
        files.write_text(as_markdown(report), folder / "retrain.md")


def as_markdown(report: RetrainReport) -> str:
    """Returns a page about a retrain for people."""
    facts = {
        "exit code": report.exit_code,
        "started": report.started,
        "version": report.version,
        "champion before": report.champion_before,
        "champion after": report.champion_after,
        "images": report.num_images,
        "of these new": report.num_new_images,
        "learned": report.decision and report.decision.note,
        "commit": report.commit,
        "tag": report.tag,
        "pushed to": ", ".join(report.pushed) or None,
    }
    parts = [f"# Retrain: {report.outcome}", _table(["", ""], facts.items())]
    if report.error:
        parts.append(f"## Failed at: {report.step}\n\n```\n{report.error}\n```")
    if report.findings:
        parts.append("## Data\n\n" + "\n".join(f"- {x.message}" for x in report.findings))
    if report.verdict:
        parts.append(f"## The gate\n\n{_rules(report.verdict)}\n\n{_attributes(report.verdict)}")
        parts += report.verdict.remarks
    seconds = [(step, f"{took:.1f}") for step, took in report.seconds.items()]
    parts.append("## Seconds\n\n" + _table(["step", "s"], seconds))
    return "\n\n".join(parts) + "\n"


def _rules(verdict: Verdict) -> str:
    rows = [
        (
            rule.name,
            rule.attribute or "",
            f"{rule.measured:.4g}",
            f"{rule.bound} {rule.limit:.4g}",
            "yes" if rule.passed else "**no**",
        )
        for rule in verdict.rules
    ]
    return _table(["rule", "attribute", "measured", "asked", "kept"], rows)


def _attributes(verdict: Verdict) -> str:
    rows = [
        (
            row.name,
            row.num_queries,
            verdict.champion_text(row),
            f"{row.challenger_map:.2f}",
            None if row.random_map is None else f"{row.random_map:.2f}",
            row.gain_text or None,
        )
        for row in verdict.attributes
    ]
    maps = ("champion MAP", "challenger MAP", "random MAP", "challenger's gain, %")
    return _table(["attribute", "queries", *maps], rows)


def _table(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Returns a Markdown table; names that come from data cannot break out of their cell."""
    lines = [header, ["---"] * len(header), *rows]
    cells = [["-" if x is None else str(x).replace("|", "/") for x in line] for line in lines]
    return "\n".join(f"| {' | '.join(line)} |" for line in cells)
