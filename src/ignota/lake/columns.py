"""Which column of a Parquet file holds images."""

from __future__ import annotations

from typing import Any

from ignota.data.files import one_line
from ignota.lake.places import faults, opened
from ignota.structures import InputError

_USUAL = ("image", "bytes", "jpg", "jpeg", "png", "img", "data")


def holds_images(uri: str) -> bool:
    """Whether a Parquet file has a column of images; one that cannot be read counts, so that its fault is reported."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with opened(uri) as stream:
            image_column(pq.read_schema(stream), uri)
    except InputError:
        return False
    except (pa.ArrowException, *faults()):
        return True
    return True


def image_column(schema: Any, uri: str) -> str:
    """The column that holds encoded images: binary, or a struct with binary `bytes`; raises InputError for none, and
    for several of which none has a usual name."""
    import pyarrow as pa

    def binary(kind: Any) -> bool:
        return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))

    def holds(kind: Any) -> bool:
        if pa.types.is_struct(kind):
            return any(field.name == "bytes" and binary(field.type) for field in kind)
        return binary(kind)

    found = [field.name for field in schema if holds(field.type)]
    usual = [name for name in _USUAL if name in found]
    if usual or len(found) == 1:
        return (usual or found)[0]
    what = f"{len(found)} binary columns, none of them called 'image'" if found else "no column of images"
    raise InputError(f"{one_line(uri)} has {what}: put the encoded images into a column 'image'")
