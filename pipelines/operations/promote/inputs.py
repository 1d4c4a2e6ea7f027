"""What `promote` and `rollback` work on, besides the registry."""

from dataclasses import dataclass
from pathlib import Path

from pipelines.shell import options


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """What versions are measured on and embed, and where their embeddings go.

    `splits` are those that the challenger was measured on; `embeddings` is what the stage `embed`
    made last, by any version; in `embeddings_root` every champion's have a folder of their own.
    """

    catalog: Path = options.CATALOG
    store: str = str(options.STORE)
    splits: Path = options.SPLITS
    embeddings: Path = options.EMBEDDINGS
    embeddings_root: Path = options.EMBEDDINGS_ROOT
    params: Path = options.PARAMS
