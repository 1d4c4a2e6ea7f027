"""Tags on disk: a manifest, and one table in parts.

    manifest.json                          which embeddings and prototypes, and which parts
    values/part-<key>-<attribute>.parquet  `TAGS`: an attribute of the items of a part
    making/                                parts of a run that is not done

The manifest is written last. The folder `values` holds whole parts and nothing else, so that
programs read it as one table. Parts are those of the embeddings, and their keys are hashes of all
that they are made from: what is there is not made again.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pyarrow as pa

from components import files
from components.embedding.embeddings import Embeddings, Part, Vectors, read_vectors
from components.errors import HemlineError
from components.images import keyed_parts
from components.images.keyed_parts import MAKING
from components.prototypes.prototypes import Prototypes
from components.prototypes.tags import tag
from components.tables import PROTOTYPES_FILE

MANIFEST, VALUES = "manifest.json", "values"

TAGS = pa.schema(
    [
        ("item", pa.int64()),
        ("attribute", pa.string()),
        ("value", pa.string()),
        ("confidence", pa.float32()),
        ("second_value", pa.string()),
        ("second_confidence", pa.float32()),
    ]
)
"""A row per item and attribute: the most likely value, the second, and their probabilities.

item is an image number. second_value is null where only one value has a prototype.
"""

_FORMAT = 1  # of what is written, in every key


@dataclass(frozen=True, kw_only=True)
class TagsFolder:
    """What the manifest says.

    `model_name`, `model_version`, `model_sha256` and `embeddings_digest` are those of the
    embeddings, `calibrations` those of the prototypes by attribute; `crc32` has the checksum of
    every part by its name.
    """

    folder: Path
    model_name: str
    model_version: int
    model_sha256: str
    embeddings_digest: str
    num_items: int
    calibrations: dict[str, dict[str, float]]
    crc32: dict[str, str]

    def written(self) -> dict[Path, str]:
        """Returns the checksum of every part when it was written."""
        return {self.folder / VALUES / name: crc32 for name, crc32 in self.crc32.items()}


def read_tags(folder: Path) -> TagsFolder:
    """Returns what the manifest in a folder says.

    Raises:
        HemlineError: there is none, it is damaged, or another version of hemline made it.
    """
    path, remedy = folder / MANIFEST, f"remove {folder} and make it again with `hemline tag`"
    content = files.read_json(path, remedy=remedy)
    try:
        return TagsFolder(folder=folder, **content)
    except TypeError as error:
        raise HemlineError(
            f"{path} was made by another version of hemline ({error}): {remedy}"
        ) from error


def make_tags(
    embedded: Embeddings,
    prototypes: Prototypes,
    attributes: Sequence[str],
    out: Path,
    *,
    on_progress: Callable[[int], None] = lambda number: None,
) -> tuple[TagsFolder, int]:
    """Returns the tags of all items, and how many parts of an attribute it had to make.

    Args:
        embedded: embeddings by the model of the prototypes.
        prototypes: the prototypes.
        attributes: attributes to name a value of.
        out: folder of the tags.
        on_progress: called with the number of items done since its last call, by attribute.

    Raises:
        HemlineError: an attribute has no prototype at all, or a file is missing or damaged.
    """
    written = _written_before(out)
    paths, num_made = {}, 0
    for attribute in attributes:
        check_nameable(prototypes, attribute)
        for part in embedded.parts:
            if not part.num_images:
                continue
            name = f"part-{_key(embedded, part, attribute)}-{quote(attribute, safe='')}.parquet"
            path = keyed_parts.finished(out / VALUES, name, schema=TAGS, written=written.get(name))
            if path is None:
                path = out / MAKING / name
                source = embedded.part_path(attribute, part.key)
                vectors = read_vectors(source, crc32=embedded.written(source))
                table = _tagged(vectors, prototypes, attribute)
                files.write_table(table, path, schema=TAGS)
                num_made += 1
            paths[name] = path
            on_progress(part.num_images)
    made = TagsFolder(
        folder=out,
        model_name=embedded.model_name,
        model_version=embedded.model_version,
        model_sha256=embedded.model_sha256,
        embeddings_digest=embedded.digest,
        num_items=embedded.num_images,
        calibrations={name: prototypes.calibrations[name]._asdict() for name in attributes},
        crc32={name: files.checksum(path) for name, path in paths.items()},
    )
    keyed_parts.bring_in(out / VALUES, made.crc32)
    content = asdict(made)
    del content["folder"]
    files.write_sealed_json(content, out / MANIFEST)
    return made, num_made


def check_nameable(prototypes: Prototypes, attribute: str) -> None:
    """Raises a HemlineError where no value of an attribute has a prototype."""
    found = prototypes.attributes.get(attribute)
    if found is None or len(found.missing) == len(found.values):
        named = [x for x, y in prototypes.attributes.items() if len(y.missing) < len(y.values)]
        why = (
            "" if found else ": single products have none, `hemline neighbours` finds their images"
        )
        remedy = f"; give --attribute with one of {', '.join(named)}" if named else ""
        raise HemlineError(f"no value of {attribute!r} has a prototype{why}{remedy}")


def _tagged(vectors: Vectors, prototypes: Prototypes, attribute: str) -> pa.Table:
    found = prototypes.attributes[attribute]
    tags = tag(vectors.embeddings_nD, found, prototypes.calibrations[attribute])
    names = np.array([*found.values, None], object)  # the last is at place -1
    columns = [
        vectors.images_n,
        pa.repeat(attribute, len(vectors.images_n)),
        pa.array(names[tags.value_n], pa.string()),
        tags.confidence_n,
        pa.array(names[tags.second_n], pa.string()),
        tags.second_confidence_n,
    ]
    return pa.table(columns, schema=TAGS)


def _key(embedded: Embeddings, part: Part, attribute: str) -> str:
    """Returns a part's number in the embeddings, and a hash of what its tags are made from."""
    vectors = embedded.part_path(attribute, part.key)
    made_from = [
        _FORMAT,
        attribute,
        part.key,
        embedded.written(vectors),
        embedded.written(embedded.folder / PROTOTYPES_FILE),
    ]
    digest = sha256(json.dumps(made_from).encode()).hexdigest()
    return f"{part.key.partition('-')[0]}-{digest[:16]}"


def _written_before(out: Path) -> dict[str, str]:
    """Returns the checksums in the manifest of an earlier run; none where it is of no use."""
    try:
        return read_tags(out).crc32
    except HemlineError:
        return {}
