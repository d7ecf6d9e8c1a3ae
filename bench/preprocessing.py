#!/usr/bin/env python3
"""Decoding, resizing, cropping and normalising a folder of photos on one thread: Graft, beside Pillow with torchvision's
transforms written out in PyTorch, in turn, several rounds. Prints images per second and the ratio; fails where it is
below --limit.

    preprocessing.py MODEL FOLDER [--build build/release] [--rounds 7] [--limit 1.5]

MODEL gives the preprocessing; its network is not run. Needs torch, numpy and Pillow (.venv).
"""
import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import time

os.environ["OMP_NUM_THREADS"] = "1"
import numpy as np  # noqa: E402
import torch  # noqa: E402
from PIL import Image  # noqa: E402
from PIL import __version__ as pillow_version  # noqa: E402

MEAN, STD = torch.tensor([0.485, 0.456, 0.406])[:, None, None], torch.tensor([0.229, 0.224, 0.225])[:, None, None]


def prepare(path):
    """Resize(256), CenterCrop(224), ToTensor(), Normalize() on a PIL image (torchvision/transforms/_functional_pil.py and
    functional.py)."""
    with Image.open(path) as file:
        image = file.convert("RGB")
    w, h = image.size
    image = image.resize((256, int(256 * h / w)) if w <= h else (int(256 * w / h), 256), Image.Resampling.BILINEAR)
    left, top = int(round((image.width - 224) / 2.0)), int(round((image.height - 224) / 2.0))
    image = image.crop((left, top, left + 224, top + 224))
    tensor = torch.from_numpy(np.array(image, np.uint8, copy=True)).permute(2, 0, 1).contiguous().to(torch.float32).div(255)
    return tensor.sub_(MEAN).div_(STD)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--build", type=pathlib.Path, default=pathlib.Path("build/release"))
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--limit", type=float, default=1.5)
    args = parser.parse_args()
    torch.set_num_threads(1)

    files = sorted(str(f) for f in args.folder.rglob("*") if f.suffix.lower() in (".jpg", ".jpeg"))
    here, there = [], []
    for number in range(args.rounds):
        start = time.perf_counter()
        batches = [torch.stack([prepare(f) for f in files[at:at + 32]]) for at in range(0, len(files), 32)]
        there.append(time.perf_counter() - start)
        del batches
        parts = json.loads(subprocess.run([args.build / "bench" / "graft_bench_parts", args.model, args.folder, "1", "32", "no-network"],
                                          check=True, capture_output=True, text=True).stdout)
        here.append(parts["decode_s"] + parts["preprocess_s"])
        print(f"round {number + 1}: Pillow and PyTorch {there[-1]:.3f} s; Graft {here[-1]:.3f} s (decode {parts['decode_s']:.3f}, "
              f"resize, crop and normalise {parts['preprocess_s']:.3f}); ratio {there[-1] / here[-1]:.2f}", flush=True)
    ratio = statistics.median(t / h for t, h in zip(there, here))
    print(f"median of {args.rounds}, {len(files)} photos, one thread: Pillow {pillow_version} and PyTorch {torch.__version__} "
          f"{len(files) / statistics.median(there):.0f} images/s, Graft {len(files) / statistics.median(here):.0f} images/s, "
          f"ratio {ratio:.2f} (at least {args.limit})")
    sys.exit(ratio < args.limit)


if __name__ == "__main__":
    main()
