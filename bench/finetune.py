#!/usr/bin/env python3
"""Fine-tuning with random weights, Graft beside PyTorch, in turn: images per second, medians, ratios, peak memory.

    finetune.py [--build build/release] [--rounds 5] [--pictures 128] [--batch 32] [--threads 2] [--case resnet50 vgg16 layer4]
                [--precision float32 bfloat16] [--folder FOLDER [--folder-rounds 5] [--epochs 10]] [--json FILE]

Cases: a linear head on frozen ResNet50; the tutorial's head (average pooling, 1024 ReLU, 10) on frozen VGG16; ResNet50 with layer4 trained
as well. Pictures of 224 x 224 are in memory: for Graft as bytes, for PyTorch ready for the network. PyTorch runs channels last, frozen
layers under no_grad. Each round trains on new pictures: the first epoch, and for Graft the median of the ten after it, which PyTorch's
epoch is compared with as well, for it does the same in each.

--folder: FOLDER/train and FOLDER/val with a folder of JPEGs for each of two classes. `graft finetune` with a linear head on ResNet50 beside
the equal script, from the start of the process to its end.
"""
import pathlib
import statistics
import subprocess
import sys
import time

import common

CASES = {"resnet50": ("resnet50", "linear", "all"), "vgg16": ("vgg16", "mlp:1024", "all"), "layer4": ("resnet50", "linear", "until:layer4")}
TITLES = {"resnet50": "linear head, ResNet50", "vgg16": "tutorial's head, VGG16", "layer4": "linear head and layer4, ResNet50"}


def start(case, precision, files, args):
    network, head, freeze = CASES[case]
    model = files.path(network, "pt")
    graft = [args.build / "bench" / "graft_bench_finetune", model, head, freeze, precision, args.batch, args.threads]
    pytorch = [files.python, common.HERE / "peers.py", "train", model, network, freeze, precision, args.batch, args.threads]
    return {"graft": common.Subject(graft), "pytorch": common.Subject(pytorch)}


def measure(case, precision, files, args):
    subjects = start(case, precision, files, args)
    try:
        for subject in subjects.values():
            subject.figures(args.batch)  # libraries and allocators warm up
        rounds = [{name: subject.figures(args.pictures) for name, subject in subjects.items()} for _ in range(args.rounds)]
        peaks = {name: subject.peak_mb() for name, subject in subjects.items()}
    finally:
        for subject in subjects.values():
            subject.close()
    first, later, pytorch = ([one[name][i] for one in rounds] for name, i in (("graft", 0), ("graft", 1), ("pytorch", 0)))
    return {"case": case, "precision": precision, "first": first, "later": later, "pytorch": pytorch, "peak_mb": peaks,
            "first_ratio": common.median_ratio(first, pytorch), "later_ratio": common.median_ratio(later, pytorch)}


def cells(row):
    median = statistics.median
    return [TITLES[row["case"]], row["precision"], f"{median(row['pytorch']):.1f}", f"{median(row['first']):.1f}", f"{row['first_ratio']:.2f}",
            f"{median(row['later']):.0f}", f"{row['later_ratio']:.0f}" if row["later_ratio"] >= 10 else f"{row['later_ratio']:.2f}",
            " / ".join(f"{row['peak_mb'][name]:.0f}" for name in ("pytorch", "graft"))]


def seconds_of(command):
    began = time.monotonic()
    result = subprocess.run([str(part) for part in command], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    if result.returncode != 0:
        raise common.Unavailable(common.last_words(result.stderr))
    return time.monotonic() - began


def measure_folder(files, args):
    model, out = files.path("resnet50", "pt"), files.folder / "finetuned.pt"
    graft = [args.build / "graft", "finetune", model, "--train", args.folder / "train", "--val", args.folder / "val", "--head", "linear",
             "--epochs", args.epochs, "--batch", args.batch, "--threads", args.threads, "--on-bad-image", "skip", "--quiet", "--out", out]
    pytorch = [files.python, common.HERE / "peers.py", "finetune", model, "resnet50", args.folder, args.epochs, args.batch, args.threads, out]
    rounds = [{"graft": seconds_of(graft), "pytorch": seconds_of(pytorch)} for _ in range(args.folder_rounds)]
    graft, pytorch = ([one[name] for one in rounds] for name in ("graft", "pytorch"))
    ratio = common.median_ratio(pytorch, graft)
    print(f"\n{args.epochs} epochs on {args.folder.name}, process start to saved file: PyTorch {statistics.median(pytorch):.1f} s, "
          f"Graft {statistics.median(graft):.1f} s, {ratio:.1f} times faster", flush=True)
    return {"graft_seconds": graft, "pytorch_seconds": pytorch, "ratio": ratio}


def main():
    parser = common.parser(__doc__)
    parser.add_argument("--case", nargs="*", choices=CASES, default=list(CASES))
    parser.add_argument("--precision", nargs="+", choices=("float32", "bfloat16"), default=["float32", "bfloat16"])
    parser.add_argument("--pictures", type=int, default=128, help="in an epoch")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--folder", type=pathlib.Path)
    parser.add_argument("--folder-rounds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=10, help="with --folder")
    args = parser.parse_args()

    files = common.Files(args.place, args.build, common.environment(args.place))
    if args.case:
        common.print_header(["", "precision", "PyTorch", "Graft, first epoch", "by PyTorch", "Graft, later epochs", "by PyTorch",
                             "peak MB: PyTorch / Graft"])
    rows = []
    for case in args.case:
        for precision in args.precision:
            try:
                rows.append(measure(case, precision, files, args))
                common.print_row(cells(rows[-1]))
            except common.Unavailable as error:
                print(f"left out: {case}, {precision}: {error}", file=sys.stderr)
    folder = measure_folder(files, args) if args.folder else None
    common.write_json(args.json, threads=args.threads, pictures=args.pictures, batch=args.batch, rows=rows, folder=folder)


if __name__ == "__main__":
    main()
