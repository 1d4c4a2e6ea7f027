"""Embeddings at a URL (s3://, gs://, …): published whole, and read through a copy on this machine.

The URL holds the files of an embedded folder, each with its checksum in its name, and the manifest:

    manifest.json
    items-<crc32>.parquet
    vectors/part-<key>-<attribute>-<crc32>.parquet

A file is therefore never overwritten. The manifest goes up last, and files that it no longer names
are removed after that: whenever a writer is killed, readers find the old embeddings or the new.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import Any

from filelock import FileLock
from fsspec import AbstractFileSystem

from components import files
from components.credentials import without_credentials
from components.embedding.embeddings import MANIFEST, Embeddings
from components.embedding.part_files import listed_files
from components.errors import HemlineError
from components.images.remote_store import UnreachableError, copy_name, open_url, read_manifest


class _GoneError(Exception):
    """A file that a manifest names is not there."""


_PUBLISH = "`hemline promote --embeddings-root` publishes embeddings"


def is_url(address: str) -> bool:
    """Returns whether an address is a URL, and not a path."""
    return "://" in address


def check_url(url: str) -> None:
    """Raises a HemlineError where a URL has a password in it, which readers would all be told."""
    if without_credentials(url) != url:
        raise HemlineError(
            f"{without_credentials(url)} was given with credentials, which would be written into "
            "the registry: leave them out, and give them as its driver reads them, such as "
            "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or in fsspec's configuration"
        )


def publish_embeddings(embeddings: Embeddings, url: str) -> int:
    """Publishes embeddings at a URL and returns how many files had to be uploaded.

    Raises:
        HemlineError: the URL cannot be written, or a file is missing or damaged.
    """
    check_url(url)
    paths = listed_files(embeddings)
    for path in paths:
        embeddings.check(path)
    names = [path.relative_to(embeddings.folder).as_posix() for path in paths]
    crc32 = {name: files.checksum(path) for name, path in zip(names, paths, strict=True)}
    manifest = files.sealed_json(replace(embeddings, crc32=crc32).manifest())
    with _at(url, "written") as (system, root):
        there = _sizes(system, root)
        num_uploaded = 0
        for name, path in zip(names, paths, strict=True):
            remote = _remote_name(name, crc32[name])
            if there.get(remote) != path.stat().st_size:
                system.makedirs(f"{root}/{PurePosixPath(remote).parent}", exist_ok=True)
                system.put_file(str(path), f"{root}/{remote}")
                num_uploaded += 1
        system.pipe_file(f"{root}/{MANIFEST}.new", manifest.encode())
        system.mv(f"{root}/{MANIFEST}.new", f"{root}/{MANIFEST}")
        named = {_remote_name(name, crc32[name]) for name in names}
        for name in there.keys() - named - {MANIFEST, f"{MANIFEST}.new"}:
            system.rm_file(f"{root}/{name}")
    return num_uploaded


def fetch_embeddings(url: str, cache: Path) -> Path:
    """Returns a folder below `cache` with the embeddings at a URL; only what it lacks is fetched.

    Each state of the URL has a folder of its own, in which nothing is ever replaced; the one before
    stays, for those who still read it. A lock makes processes of a machine wait for one another, so
    each file is fetched once. What is fetched is compared with its checksum.

    Raises:
        HemlineError: the URL cannot be read, no embeddings are published there, or they lack a file
            or have a damaged one.
    """
    copies = cache / "embeddings" / copy_name(url)
    copies.mkdir(parents=True, exist_ok=True)
    with FileLock(copies / ".lock"):
        tried: dict[str, Any] | None = None
        lacking = ""
        # a file may be gone because others were published: then the manifest is another one
        while (manifest := _manifest_at(url)) != tried:
            tried = manifest
            try:
                return _fetch(url, manifest, copies)
            except _GoneError as error:
                lacking = str(error)
    raise HemlineError(f"{without_credentials(url)} lacks {lacking}: {_PUBLISH} again")


@dataclass(frozen=True, kw_only=True)
class RemoteFile:
    """A file of the embeddings published at a URL, by its name there."""

    url: str
    name: str

    def __str__(self) -> str:
        return f"{without_credentials(self.url)}/{self.name}"

    def problem_of(self, crc32: str) -> str:
        """Returns what `files.problem_of` does, after reading it from its URL.

        Raises:
            UnreachableError: the URL cannot be read.
        """
        with _at(self.url, "read") as (system, root), TemporaryDirectory() as folder:
            copy = Path(folder) / "copy"
            with suppress(FileNotFoundError):
                system.get_file(f"{root}/{self.name}", str(copy))
            return files.problem_of(copy, crc32)


def published_files(url: str) -> dict[RemoteFile, str]:
    """Returns the files of the embeddings at a URL, with their checksums.

    Raises:
        HemlineError: there are none, or the URL cannot be read.
    """
    named = _manifest_at(url)["crc32"].items()
    return {RemoteFile(url=url, name=_remote_name(*each)): each[1] for each in named}


def published_below(root_url: str) -> list[str]:
    """Returns the URLs of all embeddings that are published below one.

    Raises:
        UnreachableError: it cannot be read.
    """
    with _at(root_url, "read") as (system, root):
        found = sorted(system.glob(f"{root}/*/{MANIFEST}"))
    return [f"{root_url.rstrip('/')}/{PurePosixPath(path).parent.name}" for path in found]


def check_published(url: str) -> None:
    """Checks that a URL holds embeddings, and every file that their manifest names.

    Raises:
        HemlineError: it does not; an UnreachableError where it cannot be read.
    """
    named = published_files(url)
    with _at(url, "read") as (system, root):
        there = _sizes(system, root)
    for file in named:
        if file.name not in there:
            raise HemlineError(f"{without_credentials(url)} lacks {file.name}: {_PUBLISH} again")


def _fetch(url: str, manifest: dict[str, Any], copies: Path) -> Path:
    content = json.dumps(manifest, sort_keys=True).encode()
    folder = copies / hashlib.sha256(content).hexdigest()[:16]
    is_complete = (folder / MANIFEST).exists()
    others = sorted(
        (path for path in copies.glob(f"*/{MANIFEST}") if path.parent != folder),
        key=lambda path: path.stat().st_mtime_ns,
    )
    held = files.read_json(others[-1])["crc32"] if others else {}
    with _at(url, "read") as (system, root):
        for name, written in manifest["crc32"].items():
            path = folder / name
            if not path.resolve().is_relative_to(folder.resolve()):
                raise HemlineError(f"{url} names a file outside of its folder: {name}")
            if path.exists() and (is_complete or not files.problem_of(path, written)):
                continue
            remote = _remote_name(name, written)
            before = others[-1].parent / name if held.get(name) == written else None
            with files.replacing(path) as temporary:
                if before and not files.problem_of(before, written):
                    os.link(before, temporary)
                else:
                    try:
                        system.get_file(f"{root}/{remote}", str(temporary))
                    except FileNotFoundError:
                        raise _GoneError(remote) from None
                if problem := files.problem_of(temporary, written):
                    raise HemlineError(
                        f"{without_credentials(url)}/{remote} {problem}: remove it there, and "
                        f"{_PUBLISH} again"
                    )
    if not is_complete:
        files.write_sealed_json(manifest, folder / MANIFEST)
        for older in others[:-1]:
            shutil.rmtree(older.parent)
    return folder


def _remote_name(name: str, crc32: str) -> str:
    path = PurePosixPath(name)
    return str(path.with_name(f"{path.stem}-{crc32}{path.suffix}"))


def _manifest_at(url: str) -> dict[str, Any]:
    system, root = open_url(url)
    remedy = f"{_PUBLISH} there"
    return read_manifest(system, root, without_credentials(url), remedy=remedy)


def _sizes(system: AbstractFileSystem, root: str) -> dict[str, int]:
    """Returns the sizes of the files of embeddings at a URL, by their names below it."""
    ours = ("vectors/", "parts/", "items-", "quarantine-", "prototypes-", MANIFEST)
    found = system.find(root, detail=True)
    names = {name.removeprefix(root).lstrip("/"): info["size"] for name, info in found.items()}
    return {name: size for name, size in names.items() if name.startswith(ours)}


@contextmanager
def _at(url: str, what: str) -> Iterator[tuple[AbstractFileSystem, str]]:
    """Gives the file system of a URL and the path in it; what a driver raises names the URL."""
    try:
        yield open_url(url)
    except (HemlineError, _GoneError):
        raise
    except Exception as error:  # each driver has its own kinds
        cause = without_credentials(str(error))
        raise UnreachableError(f"{without_credentials(url)} cannot be {what}: {cause}") from error
