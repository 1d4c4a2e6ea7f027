"""A store at a URL (s3://, gs://, …): published once, copied once to each node's own disk.

The URL holds `manifest.json` and one file per shard, with the shard's key in its name. Files that a
manifest names are therefore never overwritten: shards are uploaded first, then the manifest, and
files that it no longer names are removed last.
"""

import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from filelock import FileLock
from fsspec import AbstractFileSystem
from fsspec.core import url_to_fs

from components import files
from components.credentials import without_credentials
from components.errors import HemlineError, command_line
from components.images.keyed_parts import remove_unnamed
from components.images.store import MANIFEST, Shard, read_shards, write_manifest


class UnreachableError(HemlineError):
    """A URL cannot be read now; what it holds is not known."""


_NEW_MANIFEST = f"{MANIFEST}.new"
_RETRY = "when its server answers, run the command again, which keeps what is there"
_SHARD_NAME = re.compile(r"shard-\d+-[0-9a-f]{32}\.arrow")


@dataclass(frozen=True, kw_only=True)
class StoreLocation:
    """Location of a store, for workers on any node.

    Attributes:
        address: path of a folder that all nodes see, or URL of a published store.
        cache: folder on a node's own disk for copies of published stores.
    """

    address: str
    cache: Path

    def local(self) -> Path:
        """Returns a folder on this node with the store; a published one is copied there first.

        Only shards that the copy lacks are fetched. A lock makes processes of a node wait for one
        another, so each shard is fetched once.

        Raises:
            HemlineError: the URL cannot be read, or no store is published there.
        """
        if "://" not in self.address:
            return Path(self.address)
        folder = self.cache / copy_name(self.address)
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / ".lock"):
            _copy(self.address, folder)
        return folder


def publish_store(store: Path, url: str) -> int:
    """Publishes a store at a URL and returns how many shards had to be uploaded.

    Concurrent readers see either the old store or the new one.

    Raises:
        HemlineError: the URL cannot be written.
    """
    shards = read_shards(store)
    system, root = open_url(url)
    try:
        system.makedirs(root, exist_ok=True)
        found = system.find(root, maxdepth=1, detail=True)
        there = {PurePosixPath(path).name: entry["size"] for path, entry in found.items()}
        num_uploaded = 0
        for shard in shards:
            name, file = _remote_name(shard), store / shard.file
            if there.get(name) != file.stat().st_size:
                shard.check(store)
                system.put_file(str(file), f"{root}/{name}")
                num_uploaded += 1
        system.put_file(str(store / MANIFEST), f"{root}/{_NEW_MANIFEST}")
        system.mv(f"{root}/{_NEW_MANIFEST}", f"{root}/{MANIFEST}")
        for name in there.keys() - {_remote_name(shard) for shard in shards}:
            if _SHARD_NAME.fullmatch(name):  # other files there are not ours
                system.rm_file(f"{root}/{name}")
    except Exception as error:  # each driver has its own kinds
        raise HemlineError(f"{url} cannot be written: {error}; {_RETRY}") from error
    return num_uploaded


def _copy(url: str, folder: Path) -> None:
    system, root = open_url(url)
    tried: dict[str, Any] | None = None
    lacking = ""
    # a shard may be gone because the store was published again: then its manifest is another one
    remedy = f"`{command_line('hemline', 'preprocess', '--publish', url)}` publishes one"
    while (manifest := read_manifest(system, root, url, remedy=remedy)) != tried:
        tried = manifest
        try:
            return _fetch(system, root, manifest, folder)
        except FileNotFoundError as error:
            lacking = str(error)
        except Exception as error:  # each driver has its own kinds
            raise HemlineError(f"{url} cannot be read: {error}; {_RETRY}") from error
    raise HemlineError(f"{url} lacks {lacking}; publish the store again")


def _fetch(system: AbstractFileSystem, root: str, manifest: dict[str, Any], folder: Path) -> None:
    wanted = [Shard.from_dict(entry) for entry in manifest["shards"]]
    made_as = {"image_size_px": manifest["image_size_px"], "crop": manifest.get("crop", "centre")}
    held = [shard for shard in read_shards(folder) if (folder / shard.file).exists()]
    kept = [shard for shard in held if shard in wanted]
    write_manifest(folder, kept, **made_as)  # what is being fetched is not named
    for shard in wanted:
        if shard not in kept:
            with files.replacing(folder / shard.file) as temporary:
                system.get_file(f"{root}/{_remote_name(shard)}", str(temporary))
                if problem := files.problem_of(temporary, shard.crc32):
                    raise HemlineError(
                        f"{_remote_name(shard)} {problem}: remove it there and publish the store "
                        "again"
                    )
            kept.append(shard)
            write_manifest(folder, kept, **made_as)
    write_manifest(folder, wanted, **made_as)
    remove_unnamed(folder, "shard-*", named={folder / shard.file for shard in wanted})


def _remote_name(shard: Shard) -> str:
    return f"{Path(shard.file).stem}-{shard.key[:32]}.arrow"


def copy_name(url: str) -> str:
    """Returns the name of the folder with the copy of what is published at a URL."""
    return url.replace("://", "/").strip("/").replace("/", "--")


def read_manifest(
    system: AbstractFileSystem, root: str, url: str, *, remedy: str
) -> dict[str, Any]:
    """Returns the manifest at a URL; the remedy is for those who find none.

    Raises:
        HemlineError: there is none, or it is damaged; an UnreachableError where the URL cannot be
            read.
    """
    try:
        document = system.cat_file(f"{root}/{MANIFEST}")
    except FileNotFoundError as error:
        raise HemlineError(f"{url} has no {MANIFEST}: {remedy}") from error
    except Exception as error:  # each driver has its own kinds
        raise UnreachableError(f"{url} cannot be read: {error}; {_RETRY}") from error
    try:
        manifest: dict[str, Any] = files.parse_json(document)
    except ValueError as error:
        raise HemlineError(f"{url}/{MANIFEST} is damaged ({error}): {remedy}") from error
    return manifest


def open_url(url: str) -> tuple[AbstractFileSystem, str]:
    """Returns the file system of a URL, and the path in it.

    Raises:
        UnreachableError: its driver is missing, or cannot connect.
    """
    try:
        system, root = url_to_fs(url, use_listings_cache=False)
    except Exception as error:  # no such driver, or what a driver raises that connects at once
        text = f"{url} cannot be read: {error}"
        raise UnreachableError(without_credentials(text)) from error
    return system, root.rstrip("/")
