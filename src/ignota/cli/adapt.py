"""A world around a segmenter that you already have: its classes are checked, then D and fit; its weights stay
unchanged.
"""

from __future__ import annotations

from jsonargparse import Namespace

from ignota.cli.experiments import add_settings, given
from ignota.cli.outcome import UsageError
from ignota.cli.parsing import Parser, add_branches, add_download, branches_of, command, three_numbers
from ignota.cli.terminal import say, say_unless_quiet
from ignota.training.settings import leaves

_OWN = (
    "meta_channels.", "region_embedder.", "metric_network.", "regions.", "embedder.", "fit.", "incremental.",
    "data.train_length", "data.height", "data.width",
)  # fmt: skip
_SEGMENTER = (
    "a save_pretrained folder of transformers or smp, .pt2, .onnx, a state dict or checkpoint (.safetensors, .pth,"
    " .ckpt), OWNER/NAME of a hub, torchvision:NAME, or package:function; see docs/bring-your-own.md"
)


def arguments(parser: Parser) -> None:
    parser.add_argument("segmenter", type=str, help=_SEGMENTER)
    parser.renamed |= {"--data": "--data_root", "--target-fpr": "--fit.target_fpr"}
    options = (
        ("data_root", "ROOT", "the folder of the labelled images; images/, masks/ and classes.yaml are one, too"),
        ("dataset", "NAME", "what they are; by default `folder` by its classes.yaml, else the taxonomy of --split"),
        ("split", "T:S", "known and novel classes, such as camvid:8+3; by default all are known"),
        ("classes", "A,B", "what the outputs are, in order; by default the names in its files, else as the data set's"),
        ("mean", "R,G,B", "what is subtracted from pixels in 0..1; by default as its files say, or ImageNet's"),
        ("std", "R,G,B", "what they are then divided by"),
        ("taps", "TAP=NODE", "features of an ONNX file by node, such as decoder=/head/Relu; by default none"),
        ("architecture", "NAME", "of a state dict: smp's or torchvision's name, such as unet or fcn_resnet50"),
        ("encoder", "NAME", "of a state dict of smp: its encoder, such as resnet34"),
    )
    for name, metavar, text in options:
        parser.add_argument(f"--{name}", type=str | None, default=None, metavar=metavar, help=text)
    parser.add_argument("--out", type=str, required=True, metavar="WORLD", help="the folder to make")
    allowed = "run the code of package:function; remembered for this file on this machine"
    parser.add_argument("--allow-code", action="store_true", help=allowed)
    add_download(parser)
    add_branches(parser, "systems of the paper to train on copies of the segmenter: paper, released, dmlnet")
    add_settings(parser, besides=tuple(key for key in leaves() if not key.startswith(_OWN)))


@command(
    "adapt SEGMENTER --data ROOT --out WORLD [--dataset NAME] [--split TAXONOMY:SPLIT] [--classes A,B,…]"
    " [--mean R,G,B --std R,G,B] [--key value …]",
    "ignota adapt my-segformer/ --data data/cityscapes --dataset cityscapes --out my-world",
    arguments,
)
def run(args: Namespace) -> None:
    from ignota.door import adapt

    world = adapt(
        args.segmenter, args.data_root, args.out, dataset=args.dataset, split=args.split, classes=_words(args.classes),
        branches=branches_of(args) or (), settings=given(args), architecture=args.architecture, encoder=args.encoder,
        mean=three_numbers(args, "mean"), std=three_numbers(args, "std"), taps=_taps(args.taps), device=args.device,
        allow_code=args.allow_code, allow_download=args.allow_download, quiet=args.quiet,
        watch=None if args.quiet else say,
    )  # fmt: skip
    say_unless_quiet(args, f"{args.out} is a world of {len(world.taxonomy)} known classes")


def _words(text: str | None) -> tuple[str, ...]:
    return tuple(word.strip() for word in (text or "").split(",") if word.strip())


def _taps(text: str | None) -> dict[str, str]:
    pairs = [word.partition("=") for word in _words(text)]
    if not all(tap and node for tap, _, node in pairs):
        raise UsageError(f"--taps wants TAP=NODE, separated by commas, not {text!r}")
    return {tap: node for tap, _, node in pairs}
