#!/usr/bin/env python3
"""Graft beside compiled PyTorch on a GPU, with random weights: images per second, medians, ratios.

    cuda.py [--build build/release] [--python PYTHON] [--rounds 5] [--seconds 0.5] [--pictures 2048] [--threads 8] [--rows TEXT...] [--json FILE]

Inference: batches [N, 3, 224, 224] of float32 that are on the device, bfloat16 within; PyTorch compiled with freezing, channels last, autocast.
Fine-tuning of ResNet50, batch 32, Adam, bfloat16 autocast, a head for ten classes: the head alone, with the last stage, all of it. Pictures
are in memory: for Graft as bytes on the host, which its loader prepares, for PyTorch on the device and ready for the network. Each round
trains on new pictures; Graft's epochs after the first are given apart, for they read what the frozen part has yielded.
All subjects prepare themselves at once, which takes minutes, then sleep while another is measured. PYTHON has PyTorch for CUDA (default:
the one that runs this). --rows: those whose name contains one of these.
"""
import concurrent.futures
import os
import pathlib
import statistics
import sys

import common

INFERENCE = [(network, batch) for network in ("resnet50", "vgg16") for batch in (1, 32, 256)]
TRAINING = {"all": "head alone", "until:layer4": "last stage", "none": "all of it"}
BATCH = 32


def rows_of(args, models):
    """By name: what is asked of the subjects, and to warm up; Graft's command, PyTorch's."""
    python, peers, bench = args.python, common.HERE / "peers.py", args.build / "bench"
    rows = {}
    for network, batch in INFERENCE:
        rows[f"{network}, batch {batch}"] = (
            args.seconds, args.seconds,
            [bench / "graft_bench_network", models[network], batch, "bfloat16", args.threads, "cuda"],
            [python, peers, "serve", "compiled", models[network], network, "bfloat16", batch, args.threads, "cuda"])
    for freeze, title in TRAINING.items():
        rows[f"fine-tuning, {title}"] = (
            args.pictures, 4 * BATCH,
            [bench / "graft_bench_finetune", models["resnet50"], "linear", freeze, "bfloat16", BATCH, args.threads, "cuda"],
            [python, peers, "train", models["resnet50"], "resnet50", freeze, "bfloat16", BATCH, args.threads, "cuda"])
    return {name: row for name, row in rows.items() if not args.rows or any(text in name for text in args.rows)}


def start(command, warm_up, environment):
    subject = common.Subject(command, environment)
    subject.figures(warm_up)
    return subject


def main():
    parser = common.parser(__doc__)
    parser.add_argument("--python", default=sys.executable)
    parser.add_argument("--seconds", type=float, default=0.5, help="of each figure")
    parser.add_argument("--pictures", type=int, default=2048, help="of an epoch of fine-tuning")
    parser.add_argument("--rows", nargs="*")
    parser.set_defaults(threads=8)
    args = parser.parse_args()

    files = common.Files(args.place, args.build, pathlib.Path(args.python))
    models = {network: files.path(network, "pt") for network in ("resnet50", "vgg16")}
    environment = {"TORCHINDUCTOR_CACHE_DIR": str((args.place / "inductor").absolute())}
    rows = rows_of(args, models)
    with concurrent.futures.ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        ready = {(name, i): pool.submit(start, command, warm_up, environment)
                 for name, (_, warm_up, *commands) in rows.items() for i, command in enumerate(commands)}
    results = []
    common.print_header(["", "PyTorch compiled", "Graft", "Graft by PyTorch", "Graft, later epochs"])
    for name, (given, *_) in rows.items():
        try:
            graft, pytorch = (ready[name, i].result() for i in range(2))
        except common.Unavailable as error:
            print(f"left out: {name}: {error}", file=sys.stderr)
            continue
        rounds = [(graft.figures(given), pytorch.figures(given)) for _ in range(args.rounds)]
        ours, theirs = [one[0] for one, _ in rounds], [one[0] for _, one in rounds]
        later = [one[1] for one, _ in rounds if len(one) > 1]
        results.append({"row": name, "graft": ours, "pytorch": theirs, "later": later, "ratio": common.median_ratio(ours, theirs)})
        common.print_row([name, f"{statistics.median(theirs):.0f}", f"{statistics.median(ours):.0f}", f"{results[-1]['ratio']:.2f}",
                          f"{statistics.median(later):.0f}" if later else ""])
        graft.close(), pytorch.close()
    common.write_json(args.json, rows=results)


if __name__ == "__main__":
    main()
