"""A FiftyOne data set directory (`fo.types.FiftyOneDataset`): metadata.json, samples.json, data/, fields/ground_truth/.

Masks lie beside the samples as indexed PNG with the stored values; masks inside samples.json are read too.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import io
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from ignota.data.files import write_json
from ignota.data.images import MAX_PIXELS, read_label, write_indexed_png
from ignota.formats.documents import entries, entry, label_map, load_json, picture_path, typed, wrong
from ignota.formats.labels import Labelling, LabelMap, LabelPicture, Tick, copy_image, counted, pieces

_FIELD = "ground_truth"
_VERSION = "1.0.0"  # of the documents below; FiftyOne migrates older ones upwards when it imports them
_EPOCH = {"$date": 1_735_689_600_000}
_SEGMENTATION = "Segmentation"


def write(labelling: Labelling, out: Path, by_region: bool = False, tick: Tick | None = None) -> None:
    """A directory for `fo.Dataset.from_dir`; by_region changes nothing."""
    samples = []
    masks = out / "fields" / _FIELD
    masks.mkdir(parents=True, exist_ok=True)
    for picture in counted(labelling, tick):
        list(pieces(picture, labelling.labels))  # raises for values without a meaning
        name = copy_image(picture, out / "data")
        write_indexed_png(masks / f"{picture.key}.png", picture.label, labelling.labels.palette())
        samples.append(_sample(picture.key, f"data/{name}", f"fields/{_FIELD}/{picture.key}.png"))
    targets = {str(label.id): label.name for label in labelling.labels.classes}
    colours = [{"intTarget": label.id, "color": f"#{bytes(label.colour).hex()}"} for label in labelling.labels.classes]
    write_json(out / "metadata.json", _metadata(targets, colours), compact=True)
    write_json(out / "samples.json", {"samples": samples}, compact=True)


def read(root: Path, images: Sequence[Path], labels: LabelMap | None) -> Labelling:
    """A data set directory with one Segmentation a sample; raises InputError."""
    path = root / "samples.json"
    metadata = load_json(root / "metadata.json", dict)
    samples = entries(path, load_json(path, dict), "samples")
    field = _field(path, samples)
    labels = labels or _targets(root / "metadata.json", metadata, field)

    def each() -> Iterator[LabelPicture]:
        for sample in samples:
            name = entry(path, sample, "filepath", str, "a sample")
            key, image = picture_path(path, name.removeprefix("data/"), (*images, root / "data"))
            segmentation = typed(path, sample.get(field), dict, f"{field!r} of {key!r}")
            picture = LabelPicture(key, _mask(path, root, segmentation, key), image)
            list(pieces(picture, labels))
            yield picture

    return Labelling(labels, each(), len(samples))


def _sample(key: str, image: str, mask: str) -> dict[str, Any]:
    segmentation = {"_id": _object_id(f"mask {key}"), "_cls": _SEGMENTATION, "tags": [], "mask_path": mask}
    times = {"created_at": _EPOCH, "last_modified_at": _EPOCH}
    head: dict[str, Any] = {
        "_id": _object_id(key),
        "filepath": image,
        "tags": [],
        "metadata": None,
        "_media_type": "image",
        "_rand": 0.5,
    }
    return head | times | {_FIELD: segmentation}


def _object_id(text: str) -> dict[str, str]:
    """The same text gets the same id, so that two exports of one data set are the same bytes."""
    return {"$oid": hashlib.sha256(text.encode()).hexdigest()[:24]}


def _metadata(targets: dict[str, str], colours: list[dict[str, Any]]) -> dict[str, Any]:
    document = "fiftyone.core.fields."
    segmentation = [
        _described("id", f"{document}ObjectIdField", db_field="_id"),
        _described("tags", f"{document}ListField", subfield=f"{document}StringField"),
        _described("mask", f"{document}ArrayField"),
        _described("mask_path", f"{document}StringField"),
    ]
    fields = [
        _described("id", f"{document}ObjectIdField", db_field="_id"),
        _described("filepath", f"{document}StringField"),
        _described("tags", f"{document}ListField", subfield=f"{document}StringField"),
        _described("metadata", f"{document}EmbeddedDocumentField", kind="fiftyone.core.metadata.ImageMetadata"),
        _described("created_at", f"{document}DateTimeField"),
        _described("last_modified_at", f"{document}DateTimeField"),
        _described(_FIELD, f"{document}EmbeddedDocumentField", kind="fiftyone.core.labels.Segmentation")
        | {"fields": segmentation},
    ]
    head = {"_id": _object_id("data set"), "name": "ignota", "slug": "ignota", "version": _VERSION}
    shown = {"color_scheme": {"color_by": "value", "default_mask_targets_colors": colours}}
    return head | {
        "created_at": _EPOCH,
        "media_type": "image",
        "tags": [],
        "info": {},
        "app_config": shown,
        "classes": {},
        "default_classes": [],
        "mask_targets": {_FIELD: targets},
        "default_mask_targets": targets,
        "sample_fields": fields,
        "frame_fields": [],
    }


def _described(
    name: str, kind_of_field: str, db_field: str = "", subfield: str | None = None, kind: str | None = None
) -> dict[str, Any]:
    head: dict[str, Any] = {
        "name": name,
        "ftype": kind_of_field,
        "embedded_doc_type": kind,
        "subfield": subfield,
        "fields": [],
    }
    return head | {"db_field": db_field or name, "description": None, "info": None, "read_only": False}


def _field(path: Path, samples: Sequence[dict[str, Any]]) -> str:
    found = {
        key: None
        for sample in samples
        for key, value in sample.items()
        if isinstance(value, dict) and value.get("_cls") == _SEGMENTATION
    }
    if _FIELD in found or len(found) == 1:
        return _FIELD if _FIELD in found else next(iter(found))
    listed = ", ".join(found) or "none"
    raise wrong(path, f"its segmentation fields are: {listed}", f"one has to be there, or one called {_FIELD!r}")


def _targets(path: Path, metadata: dict[str, Any], field: str) -> LabelMap:
    chosen = typed(path, metadata.get("mask_targets") or {}, dict, "'mask_targets'").get(field)
    targets = typed(path, chosen or metadata.get("default_mask_targets"), dict, "'default_mask_targets'")
    values: dict[str, int] = {}
    for key, name in targets.items():
        if not key.isascii() or not key.isdigit() or len(key) > 3:
            raise wrong(path, f"the mask target {key[:20]!r} is no label value", "take masks of one channel")
        values[typed(path, name, str, "a mask target")] = int(key)
    return label_map(path, values, values)


def _mask(path: Path, root: Path, segmentation: dict[str, Any], key: str) -> UInt8[np.ndarray, "H W"]:
    if segmentation.get("mask_path"):
        name = typed(path, segmentation["mask_path"], str, "'mask_path'")
        _, file = picture_path(path, name, (root,))
        if file is None:
            raise wrong(path, f"the mask {name[:80]!r} is not there", "copy it into the folder")
        return read_label(file)
    binary = entry(path, entry(path, segmentation, "mask", dict, f"the mask of {key!r}"), "$binary", dict, "a mask")
    try:
        packed = base64.b64decode(entry(path, binary, "base64", str, "a mask"), validate=True)
        plain = zlib.decompressobj().decompress(packed, MAX_PIXELS + 1024)
        values = np.lib.format.read_array(io.BytesIO(plain), allow_pickle=False, max_header_size=1000)
    except (binascii.Error, zlib.error, ValueError, OSError, EOFError, MemoryError) as error:
        raise wrong(path, f"the mask of {key!r} is damaged ({error})", "export it again") from error
    if values.ndim != 2 or values.size == 0 or values.dtype.kind not in "biu" or values.min() < 0 or values.max() > 255:
        raise wrong(path, f"the mask of {key!r} holds no label values", "take masks of one channel")
    return values.astype(np.uint8)
