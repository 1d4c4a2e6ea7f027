"""Operation `browse`: a local web page to search embeddings with."""

import logging
import socket
from ipaddress import AddressValueError, IPv4Address
from pathlib import Path
from typing import Annotated
from wsgiref.types import WSGIApplication

import numpy as np
import waitress
from typer import Option

from components.browse.app import MAX_UPLOAD_BYTES, create_app
from components.browse.shelf import ItemPictures, Shelf
from components.errors import HemlineError
from components.registry import versions
from components.search.finder import Finder
from pipelines.operations.search.embedded import embeddings_at, package_of, root_of
from pipelines.shell import options
from pipelines.shell.environment import tracking
from pipelines.shell.reporting import console, notes, warn

Against = Annotated[
    str | None, Option(metavar="PATH|URL", help="Another model's embeddings, to compare with.")
]
PicturesAt = Annotated[str | None, Option(help="Folder or URL of the pictures, if moved.")]
Host = Annotated[str, Option(help="Address to listen at; any but the default is public.")]
Port = Annotated[int, Option(min=0, max=65535, help="Port to listen at; 0: any free one.")]
AllowHost = Annotated[list[str] | None, Option(help="Another host name of this machine.")]

_LOOPBACK = ["127.0.0.1", "localhost"]
_THREADS = 8
# requests and answers stay in memory; larger than an upload may be, so that the page can say so
_IN_MEMORY_BYTES = 4 * MAX_UPLOAD_BYTES


def browse(
    *,
    embeddings: options.EmbeddingsAddress = str(options.EMBEDDINGS),
    against: Against = None,
    pictures: PicturesAt = None,
    host: Host = _LOOPBACK[0],
    port: Port = 8000,
    allow_host: AllowHost = None,
    catalog: options.Catalog = options.CATALOG,
    params: options.Params = options.PARAMS,
) -> None:
    """Serve a page where you pick or drop a picture and see what is nearest, and why.

    The page shows where the model looked. With --against, the answers of two models stand side by
    side, each in its own embeddings. Stop it with Ctrl-C.
    """
    names = _names(host)
    places = [embeddings] if against is None else [embeddings, against]
    shelves = [shelf_of(x, catalog=catalog, pictures=pictures, params=params) for x in places]
    app = create_app(shelves, trusted_hosts=[*names, *(allow_host or [])])
    _serve(app, host, port)


def shelf_of(address: str, *, catalog: Path, pictures: str | None, params: Path) -> Shelf:
    """Returns embedded items with the model that their manifest names, loaded."""
    embedded = embeddings_at(address)
    version = versions.RegisteredVersion(name=embedded.model_name, version=embedded.model_version)
    notes.print(f"loading {version.uri}")
    package = package_of(embedded)
    side = package.image_size_px
    # loads the network now, so that the first question does not wait for it
    package.embed_each(np.zeros((side, side, 3), np.uint8), embedded.attributes)
    aliases = tracking().client().get_model_version(version.name, str(version.version)).aliases
    known_as = f" ({', '.join(aliases)})" if aliases else ""
    return Shelf(
        title=f"{version.name} {version.version}{known_as}",
        key=f"{embedded.digest[:16]}-{version.version}",
        finder=Finder.over(embedded, catalog=catalog),
        pictures=ItemPictures(
            embedded.items(), pictures or root_of(embedded, params), crop=package.crop
        ),
        image_size_px=side,
        embed=package.embed_each,
        attend=package.attend,
        prototypes=embedded.prototypes,
    )


def _names(host: str) -> list[str]:
    """Returns what browsers may call this machine by; warns where others can reach it."""
    try:
        address = IPv4Address("127.0.0.1" if host == "localhost" else host)
    except AddressValueError as error:
        raise HemlineError(
            f"--host {host} is not an IPv4 address; give 127.0.0.1, 0.0.0.0 or this machine's own"
        ) from error
    if address.is_loopback:
        return [*_LOOPBACK, host]
    warn(
        f"anybody who can reach {host} may see these items and their pictures; "
        "there is neither a password nor encryption"
    )
    return [*_LOOPBACK, host, socket.gethostname(), socket.getfqdn()]


def _serve(app: WSGIApplication, host: str, port: int) -> None:
    logging.getLogger("waitress.queue").setLevel(logging.ERROR)  # a page asks for many pictures
    try:
        server = waitress.create_server(
            app,
            host=host,
            port=port,
            threads=_THREADS,
            ident=None,
            max_request_body_size=_IN_MEMORY_BYTES,
            inbuf_overflow=_IN_MEMORY_BYTES,
            outbuf_overflow=_IN_MEMORY_BYTES,
        )
    except OSError as error:
        raise HemlineError(
            f"cannot listen at {host}:{port} ({error.strerror}): give another --port, or 0"
        ) from error
    console.print(f"http://{host}:{server.effective_port} (Ctrl-C stops it)")
    server.run()
