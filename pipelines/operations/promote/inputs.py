"""What `promote` and `rollback` work on, besides the registry."""

from dataclasses import dataclass
from pathlib import Path

from components.embedding.remote_embeddings import check_url, is_url
from pipelines.shell import options


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """What versions are measured on and embed, and where their embeddings go.

    `splits` are those that the challenger was measured on; `embeddings` is what the stage `embed`
    made last, by any version; in `embeddings_root`, a folder or a URL, every champion's have a
    place of their own.
    """

    catalog: Path = options.CATALOG
    store: str = str(options.STORE)
    splits: Path = options.SPLITS
    embeddings: Path = options.EMBEDDINGS
    embeddings_root: str = str(options.EMBEDDINGS_ROOT)
    params: Path = options.PARAMS

    def __post_init__(self) -> None:
        if is_url(self.embeddings_root):
            check_url(self.embeddings_root)
