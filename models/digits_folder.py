#!/usr/bin/env python3
"""Writes scikit-learn's handwritten digits (1797 real scans, 8 x 8, UCI 1998) as folders of PNGs for fine-tuning.

    digits_folder.py OUT [--train-per-class 10] [--seed 0]

OUT/train/0 .. 9 hold the few labelled pictures, OUT/val/0 .. 9 all others. Reads the data file inside the installed
scikit-learn package; scikit-learn itself is not imported and needs none of its dependencies.
"""
import argparse
import gzip
import importlib.util
import pathlib

import numpy as np
from PIL import Image

SIDE = 64


def digits():
    """Pictures [N, 8, 8], 0..16, and labels [N]."""
    package = importlib.util.find_spec("sklearn")
    if package is None:
        raise SystemExit("scikit-learn is not installed: pip install --no-deps scikit-learn")
    table = pathlib.Path(package.origin).parent / "datasets" / "data" / "digits.csv.gz"
    values = np.loadtxt(gzip.open(table, "rt"), delimiter=",")
    return values[:, :64].reshape(-1, 8, 8), values[:, 64].astype(int)


def picture(scan):
    """Dark ink on light paper, as a scan is, with a margin of a pixel of the original."""
    framed = np.pad(255 - scan * (255 / 16), 1, constant_values=255).astype(np.uint8)
    return Image.fromarray(framed).resize((SIDE, SIDE), Image.Resampling.BICUBIC)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--train-per-class", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()

    scans, labels = digits()
    order = np.random.default_rng(args.seed).permutation(len(labels))
    taken = {label: 0 for label in range(10)}
    for i in order:
        label = int(labels[i])
        part = "train" if taken[label] < args.train_per_class else "val"
        taken[label] += 1
        folder = args.out / part / str(label)
        folder.mkdir(parents=True, exist_ok=True)
        picture(scans[i]).save(folder / f"{i:04d}.png")
    print(f"{args.out}: {10 * args.train_per_class} pictures to train on, {len(labels) - 10 * args.train_per_class} to validate")


if __name__ == "__main__":
    main()
