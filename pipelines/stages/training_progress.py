"""How far training is: read from its journal of metrics, wherever its workers run."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from threading import Event, Thread

from components.tracking.journal import Reader, Row
from components.training.validation import trouble
from pipelines.shell.reporting import notes, progress_bar, warn

_SECONDS_BETWEEN_LOOKS = 0.5
_SECONDS_BETWEEN_LINES = 15.0  # of a log


@contextmanager
def training_progress(
    journal: Path, *, num_epochs: int, num_steps: int, classification_epochs: int = 0
) -> Iterator[None]:
    """Shows the rows that a journal gains while the block lasts.

    A terminal shows a bar with losses, speed and time left; a log gets a line now and then; both
    get a line for every epoch, and a warning while the network does not learn, which it is not
    asked to in the `classification_epochs` at first.
    """
    display = _Display(
        Reader(journal),
        num_epochs=num_epochs,
        num_steps=num_steps,
        classification_epochs=classification_epochs,
    )
    done = Event()

    def follow() -> None:
        while not done.wait(_SECONDS_BETWEEN_LOOKS):
            display.show_new_rows()

    thread = Thread(target=follow, name="progress of training", daemon=True)
    with display.bar:
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()
            display.show_new_rows()


class _Display:
    """A bar in a terminal, lines elsewhere."""

    def __init__(
        self, reader: Reader, *, num_epochs: int, num_steps: int, classification_epochs: int
    ) -> None:
        self._reader = reader
        self._classification_epochs = classification_epochs
        self._num_epochs = num_epochs
        self._num_steps = num_steps
        self._start = time.monotonic()
        self._last_line = -_SECONDS_BETWEEN_LINES
        resumed = [row.step for row in reader.read() if row.kind == "step"]
        self._first_step = max(resumed, default=0)
        self.bar = progress_bar()
        self._task = self.bar.add_task(
            "training starts", total=num_steps, completed=self._first_step
        )

    def show_new_rows(self) -> None:
        """Shows every epoch, and the last step."""
        last_step = None
        for row in self._reader.read():
            if row.kind == "epoch":
                self._show_epoch(row.step + 1, row.metrics)
            elif row.kind == "stage":
                notes.print(
                    f"pass {row.step + 1} over {row.metrics['manipulations']:.0f} manipulations "
                    f"({row.metrics['manipulations_left_out']:.0f} have no answer): "
                    f"loss {row.metrics['global_ranking_loss']:.4f}"
                )
            elif row.kind == "step":
                last_step = row
        if last_step:
            self._show_step(last_step)

    def _show_epoch(self, epoch: int, metrics: Mapping[str, float]) -> None:
        notes.print(
            f"epoch {epoch}/{self._num_epochs}: loss {metrics['loss']:.4f}, "
            f"{metrics['active_share']:.0%} of triplets, pairs or images count; "
            f"validation MAP {metrics['valid_map']:.2f}, random {metrics['valid_random_map']:.2f}, "
            f"mean similarity {metrics['valid_mean_similarity']:.3f}"
        )
        before = self._classification_epochs
        if found := trouble(metrics, epoch=epoch - before, num_epochs=self._num_epochs - before):
            warn(found)

    def _show_step(self, row: Row) -> None:
        epoch = (row.step - 1) * self._num_epochs // self._num_steps + 1
        text = f"epoch {epoch}/{self._num_epochs}  {_described(row.metrics)}"
        self.bar.update(self._task, completed=row.step, description=text)
        now = time.monotonic()
        if notes.is_terminal or now - self._last_line < _SECONDS_BETWEEN_LINES:
            return
        self._last_line = now
        step_s = (now - self._start) / max(row.step - self._first_step, 1)
        left = timedelta(seconds=round(step_s * (self._num_steps - row.step)))
        notes.print(f"step {row.step}/{self._num_steps}  {text}  {left} left")


def _described(metrics: Mapping[str, float]) -> str:
    parts = f"ranking {metrics['step.ranking_loss']:.3f}"
    for other in ("classification", "landmark"):
        if f"step.{other}_loss" in metrics:
            parts += f" + {other} {metrics[f'step.{other}_loss']:.3f}"
    return (
        f"loss {metrics['step.loss']:.3f} ({parts})  {metrics['step.images_per_s']:.0f} images/s  "
        f"{metrics['step.data_wait_share']:.1%} waiting for data"
    )
