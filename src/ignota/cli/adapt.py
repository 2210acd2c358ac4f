"""A world around a segmenter that you already have: D and fit, on request branches; the segmenter stays untouched."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from jsonargparse import Namespace

from ignota.cli.parsing import Parser, add_branches, add_download, branches_of
from ignota.cli.settings import add_settings, configuration
from ignota.engine.settings import leaves

USAGE = (
    "adapt SEGMENTER --data ROOT --out WORLD [--dataset NAME] [--split TAXONOMY:SPLIT] [--allow-code] [--key value …]"
)
EXAMPLE = "ignota adapt my-segformer/ --data data/cityscapes --dataset cityscapes --out my-world"

_OWN = ("meta_channels.", "region_embedder.", "metric_network.", "regions.", "embedder.", "fit.", "incremental.")


def arguments(parser: Parser) -> None:
    parser.add_argument("segmenter", type=str, help="a save_pretrained folder, .pt2, state dict, or package:function")
    parser.renamed |= {"--data": "--data_root", "--target-fpr": "--fit.target_fpr", "--allow-code": "--allow_code"}
    parser.add_argument("--data_root", type=str | None, default=None, metavar="ROOT", help="where the images lie")
    parser.add_argument("--out", type=str, required=True, metavar="WORLD", help="the folder to make")
    parser.add_argument("--dataset", type=str | None, default=None, help="by default the taxonomy of --split")
    parser.add_argument("--split", type=str | None, default=None, help="such as camvid:8+3; by default all are known")
    parser.add_argument("--allow_code", action="store_true", help="run the code of package:function")
    add_download(parser)
    add_branches(parser, "systems of the paper to train on copies of the segmenter: paper, released, dmlnet")
    parser.add_argument("--architecture", type=str | None, default=None, help="of a state dict: deeplabv3plus, pspnet")
    parser.add_argument("--encoder", type=str | None, default=None, help="of a state dict: its encoder")
    add_settings(parser, besides=tuple(key for key in leaves() if not key.startswith(_OWN)))


def run(args: Namespace) -> None:
    from ignota.cli.opening import chosen_device
    from ignota.cli.terminal import hush_training, say
    from ignota.data.datasets import open_dataset
    from ignota.engine.experiment import adapt
    from ignota.models.build import open_segmenter
    from ignota.models.smp_segmenter import SmpSpec
    from ignota.structures import InputError

    hush_training()
    out, root = Path(args.out), None if args.data_root is None else Path(args.data_root)
    if out.exists():
        raise InputError(f"{out} exists already: choose another name or remove it")
    name = args.dataset or (args.split or "").partition(":")[0]
    if not name:
        raise InputError("which data set is it? say --dataset NAME, such as cityscapes")
    dataset = open_dataset(name, root, "train")
    if dataset.taxonomy is None:
        raise InputError(f"{name} has no classes to know: adapt needs a data set with classes, such as cityscapes")
    base = {"data.dataset": name, "data.split": args.split or dataset.taxonomy.name}
    config = configuration(base | {"meta_channels.branches": branches_of(args) or ()}, args)
    spec = None
    if args.architecture or args.encoder:
        asked = {"architecture": args.architecture, "encoder": args.encoder}
        spec = dataclasses.replace(SmpSpec(1), **{key: value for key, value in asked.items() if value})
    segmenter = open_segmenter(args.segmenter, args.allow_code, spec)
    adapt(segmenter, name, root, out, config, chosen_device(args), args.quiet, args.allow_download)
    if not args.quiet:
        say(f"{out} is a world of {segmenter.num_classes} known classes")
