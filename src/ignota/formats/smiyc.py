"""SegmentMeIfYouCan: one HDF5 file per image with the anomaly of each pixel as float16, as its benchmark reads them.

Chan et al., "SegmentMeIfYouCan: A Benchmark for Anomaly Segmentation", NeurIPS Datasets and Benchmarks 2021.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Float16, UInt8
from PIL import Image

from ignota.data.files import natural_key, one_line
from ignota.data.images import MAX_PIXELS, image_size
from ignota.formats.documents import picture_path, wrong
from ignota.formats.labels import UNKNOWN_NAME, Labelling, LabelMap, LabelPicture, Tick, counted
from ignota.structures import InputError
from ignota.taxonomy import UNKNOWN_COLOUR, ClassLabel

SUFFIX = ".hdf5"
_VARIABLE = "value"
_ANOMALY_NAMES = ("anomaly", UNKNOWN_NAME)
_MAP = LabelMap((ClassLabel(0, "normal", (90, 90, 90)), ClassLabel(1, "anomaly", UNKNOWN_COLOUR)))
_BOUND = 0.5
"""Of the anomaly that `segment` writes, one half is the threshold."""


def write(labelling: Labelling, out: Path, by_region: bool = False, tick: Tick | None = None) -> None:
    """KEY.hdf5 for each image: what `segment` left, else 1 in the class `unknown` or `anomaly` and 0 elsewhere.

    Raises InputError where there is neither; by_region changes nothing.
    """
    require_hdf5()
    out.mkdir(parents=True, exist_ok=True)
    value = next((v for name in _ANOMALY_NAMES if (v := labelling.labels.value_of(name)) is not None), None)
    for picture in counted(labelling, tick):
        if picture.anomaly is not None:
            anomaly = _read_anomaly(picture.anomaly, picture.label.shape)
        elif value is not None:
            anomaly = (picture.label == value).astype(np.float16)
        else:
            names = " or ".join(_ANOMALY_NAMES)
            raise InputError(
                f"{one_line(picture.key)} has no anomaly: take what `ignota segment` left, or a class {names}"
            )
        write_anomaly(out / f"{picture.key}{SUFFIX}", anomaly)


def read(root: Path, images: Sequence[Path], labels: LabelMap | None) -> Labelling:
    """All HDF5 files of a folder as labels, anomalous where they exceed one half; raises InputError."""
    require_hdf5()
    if not root.is_dir():
        raise wrong(root, "no such folder", "name the one that holds the HDF5 files")
    files = sorted((path for path in root.glob(f"*{SUFFIX}") if path.name[0] != "."), key=lambda p: natural_key(p.name))
    if not files:
        raise wrong(root, f"there is no *{SUFFIX} in it", "name the folder that holds them")

    def each() -> Iterator[LabelPicture]:
        for path in files:
            key, image = picture_path(path, f"{path.stem}.png", (*images, root / "images", root))
            yield LabelPicture(key, (read_anomaly(path) > _BOUND).astype(np.uint8), image)

    return Labelling(_MAP, each(), len(files))


def write_anomaly(path: Path, anomaly: Float16[np.ndarray, "H W"]) -> None:
    """One map as the benchmark's own writer does it: float16 named `value`, gzip 9."""
    import h5py

    with h5py.File(path, "w") as file:
        file.create_dataset(_VARIABLE, data=anomaly.astype(np.float16), compression=9)


def read_anomaly(path: Path) -> Float[np.ndarray, "H W"]:
    """One map, every bit of it, in the type that it has there; raises InputError for what is none."""
    require_hdf5()
    import h5py

    try:
        with h5py.File(path, "r") as file:
            found: Any = file.get(_VARIABLE, getlink=True)
            if not isinstance(found, h5py.HardLink) or not isinstance(file[_VARIABLE], h5py.Dataset):
                raise wrong(path, f"it has no variable {_VARIABLE!r} of its own", "write it as the benchmark does")
            stored = file[_VARIABLE]
            if stored.ndim != 2 or stored.dtype.kind != "f" or not 0 < stored.size <= MAX_PIXELS or stored.external:
                raise wrong(
                    path, f"its values are {stored.shape} {stored.dtype}", "one float for each pixel is expected"
                )
            values = np.asarray(stored[()])
    except InputError:
        raise
    except Exception as error:  # HDF5's library tells damage by whatever it stumbles over
        raise wrong(path, f"it is no HDF5 file that can be read ({error})", "write it again") from error
    if not np.isfinite(values).all():
        raise wrong(path, "it holds values that are no numbers", "write it again")
    return values


def _read_anomaly(path: Path, size: tuple[int, ...]) -> Float16[np.ndarray, "H W"]:
    """NAME_anomaly.png of `segment`, 16 bits a pixel, as fractions."""
    if image_size(path) != size:
        raise wrong(path, "it does not fit its labels", "segment the image again")
    with Image.open(path) as picture:
        values: UInt8[np.ndarray, "H W"] = np.asarray(picture)
    if values.dtype != np.uint16:
        raise wrong(path, f"its values are {values.dtype}, not 16 bits", "segment the image again")
    return (values / 65535).astype(np.float16)


def require_hdf5() -> None:
    """Raises InputError where h5py is missing."""
    if find_spec("h5py") is None:
        raise InputError("HDF5 takes h5py: `pip install 'ignota[hdf5]'` brings it")
