"""The data of a retrain: fetched, and compared with the previous catalog."""

from pathlib import Path
from tempfile import TemporaryDirectory

from components import tables
from components.datasets.description import Description, describe_catalog
from components.datasets.drift import compare_labels, compare_quarantine
from components.errors import HemlineError
from components.params import RetrainParams
from components.provenance import git
from components.provenance.dvc_files import LOCK
from components.tables import Catalog
from pipelines.operations.retrain.learning import own_changes
from pipelines.operations.retrain.report import RetrainReport
from pipelines.shell import dvc, options
from pipelines.shell.reporting import notes


class DataRefusedError(HemlineError):
    """The data differs from the last run's in a way that a person has to look at."""


def check_tree(*, resumed: bool, params: Path = options.PARAMS) -> None:
    """Refuses tracked files with changes: the run's commit could not reproduce it without them.

    A retrain that is resumed has itself changed `dvc.lock` and the like.

    Raises:
        HemlineError: tracked files have changes.
    """
    own = {*dvc.recorded_paths(), *own_changes(params)} if resumed else set()
    if changed := sorted(set(git.changed_files()) - own):
        raise HemlineError(
            f"tracked files have changes: {', '.join(changed)}. A retrain is recorded as a "
            "commit that reproduces it: commit them, or `git restore` them, and start it again"
        )


def restore(commit: str) -> None:
    """Restores catalog and splits of a commit, so that refused data leaves no trace."""
    notes.print("the refused data is read again: catalog and splits are restored")
    git.read("checkout", commit, "--", str(LOCK))
    dvc.run("checkout", "--force", str(options.CATALOG), str(options.SPLITS))


def fetch() -> None:
    """Updates imported data and fetches what the workspace lacks."""
    for file in dvc.imports():
        dvc.run("update", file)
    missing = dvc.missing_outputs()
    if not missing:
        notes.print("nothing is missing")
    elif dvc.has_remote():
        dvc.run("pull", *missing)
    else:
        notes.print("DVC has no remote: what is missing comes from its cache")
        dvc.run("checkout", *missing)


def check_data(base: str, *, section: RetrainParams, accept: bool, report: RetrainReport) -> None:
    """Compares the new catalog with a commit's; findings go into the report.

    An attribute that is new is none where it may be grown (`retrain.strategy` grow, auto).

    Raises:
        DataRefusedError: there are findings, and they are not accepted.
        HemlineError: the commit's catalog cannot be read, and that is not accepted.
    """
    catalog = tables.read_catalog(options.CATALOG)
    report.num_images = catalog.images.num_rows
    previous = _previous(base, accept=accept)
    if previous is None:
        notes.print("there is no previous catalog to compare with")
        report.num_new_images = report.num_images
        return
    before, last = previous
    report.num_images_before = last.images.num_rows
    paths = set(catalog.images["path"].to_pylist()) - set(last.images["path"].to_pylist())
    report.num_new_images = len(paths)
    after = describe_catalog(catalog, undecodable=tables.read_quarantine(options.STORE))
    report.findings = (
        *(
            finding
            for finding in compare_labels(before, after, max_label_shift=section.max_label_shift)
            if finding.kind != "new_attribute" or section.strategy == "full"
        ),
        *compare_quarantine(
            before,
            after,
            num_new_images=len(paths),
            max_quarantined_share=section.max_quarantined_share,
        ),
    )
    notes.print(f"{len(paths)} new images, {report.num_images} in all")
    if not report.findings:
        return
    listed = "\n".join(f"  {finding.message}" for finding in report.findings)
    if not accept:
        raise DataRefusedError(
            f"the data differs from the previous catalog:\n{listed}\n"
            "Correct the labels; or, if this is as it should be, `hemline retrain --accept-data`"
        )
    notes.print(f"accepted:\n{listed}", markup=False)


def _previous(commit: str, *, accept: bool) -> tuple[Description, Catalog] | None:
    """Returns what the catalog of a commit holds, and the catalog; None where it had none."""
    name = tables.QUARANTINE_FILE
    try:
        with TemporaryDirectory() as temporary:
            folder = Path(temporary)
            if not dvc.copy_committed(options.CATALOG, commit, into=folder / "catalog"):
                return None
            dvc.copy_committed(options.STORE / name, commit, into=folder / name)
            catalog = tables.read_catalog(folder / "catalog")
            undecodable = tables.read_quarantine(folder)
            return describe_catalog(catalog, undecodable=undecodable), catalog
    except HemlineError as error:
        if not accept:
            raise HemlineError(
                f"cannot compare with the previous catalog: {error}\n"
                "`hemline retrain --accept-data` continues without"
            ) from error
        notes.print(f"not compared with the previous catalog: {error}", markup=False)
        return None
