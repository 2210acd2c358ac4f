"""Runs under an interpreter that has datumaro and label-studio-converter, which cannot live beside Ignota's own pins.

python foreign_reader.py read FORMAT FOLDER OUT.npz     what datumaro makes of a data set: "key" → "H W" index of names
python foreign_reader.py write FORMAT FOLDER IN.npz     a data set as datumaro writes it
python foreign_reader.py brush TASKS.json OUT.npz       brush strokes by label-studio-converter: "task/name" → "H W"
"""

import json
import sys
from pathlib import Path

import numpy as np

NAMES = ["road", "pole", "traffic sign", "car"]


def read(form: str, folder: str, out: str) -> None:
    import datumaro

    dataset = datumaro.Dataset.import_from(folder, form)
    names = [label.name for label in dataset.categories()[datumaro.AnnotationType.label]]
    maps = {}
    for item in dataset:
        label = np.full(item.media.data.shape[:2], 255, np.uint8)
        for annotation in sorted(item.annotations, key=lambda one: one.z_order):
            label[np.asarray(annotation.image, bool)] = NAMES.index(names[annotation.label])
        maps[item.id] = label
    np.savez(out, **maps)


def write(form: str, folder: str, source: str) -> None:
    import datumaro

    items = []
    for key, label in np.load(source).items():
        masks = [datumaro.Mask(label == i, label=i, z_order=i) for i in range(len(NAMES)) if (label == i).any()]
        picture = datumaro.Image.from_numpy(np.repeat(label[:, :, None], 3, axis=2), ext=".png")
        items.append(datumaro.DatasetItem(id=key, media=picture, annotations=masks))
    datumaro.Dataset.from_iterable(items, categories=NAMES).export(folder, form, save_media=True)


def brush(tasks: str, out: str) -> None:
    from label_studio_converter.brush import decode_rle

    maps = {}
    for task in json.loads(Path(tasks).read_text("utf-8")):
        for result in task["annotations"][0]["result"]:
            values = np.array(decode_rle(result["value"]["rle"]), np.uint8)
            shape = (result["original_height"], result["original_width"], 4)
            maps[f"{task['data']['image'].rpartition('/')[2]}/{result['value']['brushlabels'][0]}"] = values.reshape(
                shape
            )[:, :, 3]
    np.savez(out, **maps)


if __name__ == "__main__":
    {"read": read, "write": write, "brush": brush}[sys.argv[1]](*sys.argv[2:])
