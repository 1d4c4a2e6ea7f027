"""What embeddings were made with: a model, for queries embedded the same way, and a root."""

import shutil
from pathlib import Path
from tempfile import TemporaryDirectory

from components import files
from components.embedding.embeddings import Embeddings, read_embeddings
from components.errors import HemlineError, command_line
from components.params import DataParams, load_section
from components.registry.package import NETWORK_FILE, PACKAGE_FILE, Package, read_package
from pipelines.shell.environment import cache_folder, tracking


def embeddings_at(address: str) -> Embeddings:
    """Returns the embeddings in a folder, or the copy of those at a URL in this machine's cache.

    Raises:
        HemlineError: there are none, or the URL cannot be read.
    """
    if "://" not in str(address):
        return read_embeddings(Path(address))
    # fsspec, which embeddings in a folder do without
    from components.embedding.remote_embeddings import fetch_embeddings  # noqa: PLC0415

    return read_embeddings(fetch_embeddings(address, cache_folder()))


def package_of(embedded: Embeddings) -> Package:
    """Returns the package that made embeddings, from this machine's cache or from the registry.

    It is run as it was then, so that queries are embedded as items were.

    The cache is keyed by the SHA-256 of the exported graph, which the embeddings name: two
    registries may give two models one version number, and a copy needs no MLflow, which takes
    seconds to import.

    Raises:
        HemlineError: the registry has no such version, its graph is another one, or it does not
            answer.
    """
    cached = cached_package(embedded)
    if cached.exists() and files.sha256(cached / NETWORK_FILE) != embedded.model_sha256:
        shutil.rmtree(cached)  # a damaged copy
    if not cached.exists():
        _fetch(embedded, cached)
    return read_package(cached).run_by(embedded.inference)


def cached_package(embedded: Embeddings) -> Path:
    """Returns the folder in this machine's cache for the package that made embeddings."""
    key = [embedded.model_sha256, *([embedded.quantised] if embedded.quantised else [])]
    return cache_folder() / "models" / "-".join(key)


def root_of(embedded: Embeddings, params: Path) -> str:
    """Returns the folder or URL that the items' paths are relative to.

    Embeddings without a catalog name it themselves; for a catalog, the params do.
    """
    return embedded.root or load_section(params, DataParams).root


def _fetch(embedded: Embeddings, cached: Path) -> None:
    from components.registry import versions  # noqa: PLC0415 - MLflow, which a copy does without

    where = tracking()
    # embeddings that came from elsewhere name a number of another registry
    version = versions.of_graph(embedded.model_name, embedded.model_sha256, where)
    version = version or versions.RegisteredVersion(
        name=embedded.model_name, version=embedded.model_version
    )
    package = versions.download(version, tracking=where)
    embedded.check_model(package.graph_sha256, registry=where.registry_address)
    if embedded.quantised not in (None, package.quantised_key):
        again = command_line("hemline", "embed", "--model", version.uri)
        raise HemlineError(
            f"{version.uri} in {where.registry_address} has not the graph in 8-bit integers that "
            f"made {embedded.folder}: embed again with `{again}`"
        )
    cached.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=cached.parent) as folder:
        whole = Path(folder) / "package"
        whole.mkdir()
        for path in (*package.written_files(), package.folder / PACKAGE_FILE):
            shutil.copyfile(path, whole / path.name)
        try:
            whole.rename(cached)
        except OSError:
            if not cached.exists():  # else another process was faster, with the same bytes
                raise
