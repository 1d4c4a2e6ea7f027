"""What `promote` and `rollback` work on, besides the registry."""

from dataclasses import dataclass
from pathlib import Path

from pipelines.shell import options


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """What versions are measured on and embed, and where their embeddings go.

    Attributes:
        catalog: folder of the catalog.
        store: folder or URL of the image store.
        splits: folder of the splits that the challenger was measured on.
        embeddings: folder of the embeddings that the stage `embed` made last, by any version.
        embeddings_root: folder in which each champion's embeddings have a folder of their own.
        params: file with the sections `gate`, `embed` and `data`.
    """

    catalog: Path = options.CATALOG
    store: str = str(options.STORE)
    splits: Path = options.SPLITS
    embeddings: Path = options.EMBEDDINGS
    embeddings_root: Path = options.EMBEDDINGS_ROOT
    params: Path = options.PARAMS
