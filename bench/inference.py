#!/usr/bin/env python3
"""Inference with random weights beside PyTorch, in turn, several rounds: images per second, medians and ratios.

    inference.py [--build build/release] [--rounds 5] [--seconds 8] [--threads 2] [--batch 1 32] [--network resnet50 vgg16]

PyTorch is eager, channels last, under inference_mode; in bfloat16 with autocast. Graft is Model::forward on the exported file.
"""
import argparse
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

import torch

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "models"))
import networks  # noqa: E402


def pytorch(net, batch, precision, seconds):
    x = torch.rand(batch, 3, 224, 224).to(memory_format=torch.channels_last)
    done = 0
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
        net(x)
        start = time.monotonic()
        while time.monotonic() - start < seconds:
            net(x)
            done += batch
        return done / (time.monotonic() - start)


def graft(build, model, batch, precision, seconds, threads):
    command = [build / "bench" / "graft_bench_network", model, batch, precision, seconds, threads]
    return float(subprocess.run([str(part) for part in command], check=True, capture_output=True, text=True).stdout)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=pathlib.Path, default=pathlib.Path("build/release"))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=8)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 32])
    parser.add_argument("--network", nargs="+", default=["resnet50", "vgg16"])
    args = parser.parse_args()
    torch.set_num_threads(args.threads)

    print("| network | precision | batch | PyTorch, channels last | Graft | ratio, median of the rounds' |\n|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for name in args.network:
            net = {"resnet50": networks.ResNet50, "vgg16": networks.VGG16}[name]().eval().to(memory_format=torch.channels_last)
            model = pathlib.Path(folder) / f"{name}.pt"
            torch.jit.script(net).save(str(model))
            for precision in ("float32", "bfloat16"):
                for batch in args.batch:
                    rounds = [(pytorch(net, batch, precision, args.seconds),
                               graft(args.build, model, batch, precision, args.seconds, args.threads)) for _ in range(args.rounds)]
                    theirs, ours = (statistics.median(column) for column in zip(*rounds))
                    ratio = statistics.median(b / a for a, b in rounds)
                    print(f"| {name} | {precision} | {batch} | {theirs:.1f} | {ours:.1f} | {ratio:.2f} |", flush=True)


if __name__ == "__main__":
    main()
