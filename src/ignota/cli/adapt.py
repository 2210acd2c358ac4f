"""A world around a segmenter that you already have: D and fit, on request branches; the segmenter stays untouched."""

from __future__ import annotations

from jsonargparse import Namespace

from ignota.cli.parsing import Parser, add_branches, add_download, branches_of
from ignota.cli.settings import add_settings, given
from ignota.training.settings import leaves

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
    from ignota.cli.terminal import say
    from ignota.door import adapt

    world = adapt(
        args.segmenter, args.data_root, args.out, dataset=args.dataset, split=args.split,
        branches=branches_of(args) or (), settings=given(args), architecture=args.architecture, encoder=args.encoder,
        device=args.device, allow_code=args.allow_code, allow_download=args.allow_download, quiet=args.quiet,
    )  # fmt: skip
    if not args.quiet:
        say(f"{args.out} is a world of {len(world.taxonomy)} known classes")
