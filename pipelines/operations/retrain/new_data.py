"""The data side of a retrain: fetching, telling whether anything is new, and looking at it."""

from pathlib import Path
from tempfile import TemporaryDirectory

from components import tables
from components.datasets.description import Description, describe_catalog
from components.datasets.drift import compare_labels, compare_quarantine
from components.errors import HemlineError
from components.params import RetrainParams
from components.tables import Catalog
from pipelines.operations.retrain.record import Record
from pipelines.shell import options, workspace
from pipelines.shell.reporting import console


class DataRefusedError(HemlineError):
    """The data differs from the last run's in a way that a person has to look at."""


def check_tree(*, gone_on: bool) -> None:
    """Raises a HemlineError when files of git have changes, which a run would not be recorded with.

    Args:
        gone_on: whether a retrain did not end: the files that it records itself in are its own.
    """
    own = set(workspace.recorded_paths()) if gone_on else set()
    if changed := sorted(set(workspace.changed_files()) - own):
        raise HemlineError(
            f"files that git knows have changes: {', '.join(changed)}. A retrain is recorded as a "
            "commit that reproduces it: commit them, or `git restore` them, and start it again"
        )


def put_back(commit: str) -> None:
    """Puts catalog and splits back to a commit's, so that refused data is not continued."""
    console.print("the data that was refused is read anew: catalog and splits go back")
    workspace.git("checkout", commit, "--", str(workspace.LOCK))
    workspace.dvc("checkout", "--force", str(options.CATALOG), str(options.SPLITS))


def fetch() -> None:
    """Updates what is imported and fetches what the workspace misses."""
    for file in workspace.imports():
        workspace.dvc("update", file)
    missing = workspace.missing_outputs()
    if not missing:
        console.print("nothing is missing")
    elif workspace.has_dvc_remote():
        workspace.dvc("pull", *missing)
    else:
        console.print("DVC has no remote: what is missing comes from its cache")
        workspace.dvc("checkout", *missing)


def check_data(base: str, *, section: RetrainParams, accept: bool, record: Record) -> None:
    """Compares the new catalog with a commit's; what is found goes into the record.

    Args:
        base: the commit.
        section: of the params.
        accept: go on whatever is found.
        record: of the retrain.

    Raises:
        DataRefusedError: something was found, which is not accepted.
        HemlineError: the commit's catalog cannot be read, which is not accepted.
    """
    catalog = tables.read_catalog(options.CATALOG)
    record.num_images = catalog.images.num_rows
    previous = _previous(base, accept=accept)
    if previous is None:
        console.print("there is no data of a last run to compare with")
        record.num_new_images = record.num_images
        return
    before, last = previous
    record.num_images_before = last.images.num_rows
    paths = set(catalog.images["path"].to_pylist()) - set(last.images["path"].to_pylist())
    record.num_new_images = len(paths)
    after = _describe(catalog, options.STORE)
    record.findings = (
        *compare_labels(before, after, max_label_shift=section.max_label_shift),
        *compare_quarantine(
            before,
            after,
            num_new_images=len(paths),
            max_quarantined_share=section.max_quarantined_share,
        ),
    )
    console.print(f"{len(paths)} new images, {record.num_images} in all")
    _judge(record, accept=accept)


def _judge(record: Record, *, accept: bool) -> None:
    listed = "\n".join(f"  {finding.message}" for finding in record.findings)
    if not listed:
        return
    if not accept:
        raise DataRefusedError(
            f"the data is not like the last run's:\n{listed}\n"
            "Mend the labels; or, where this is as it should be, `hemline retrain --accept-data`"
        )
    console.print(f"accepted:\n{listed}", markup=False)


def _previous(base: str, *, accept: bool) -> tuple[Description, Catalog] | None:
    try:
        with TemporaryDirectory() as folder:
            return _read_committed(base, Path(folder))
    except HemlineError as error:
        if not accept:
            raise HemlineError(
                f"the last run's catalog cannot be compared with: {error}\n"
                "`hemline retrain --accept-data` goes on without"
            ) from error
        console.print(f"not compared with the last run's catalog: {error}", markup=False)
        return None


def _read_committed(commit: str, folder: Path) -> tuple[Description, Catalog] | None:
    """Returns what the catalog of a commit holds, and the catalog; None where it had none."""
    if not workspace.copy_committed(options.CATALOG, commit, into=folder / "catalog"):
        return None
    name = tables.QUARANTINE_FILE
    workspace.copy_committed(options.STORE / name, commit, into=folder / name)
    catalog = tables.read_catalog(folder / "catalog")
    return _describe(catalog, folder), catalog


def _describe(catalog: Catalog, store: Path) -> Description:
    return describe_catalog(catalog, undecodable=tables.read_quarantine(store))
