#!/usr/bin/env python3
"""Exports VGG16 or ResNet50 to TorchScript, with the preprocessing and the 1000 labels that Graft reads.

    export_torchscript.py resnet50 --out resnet50.pt                          the official weights, fetched and verified
    export_torchscript.py vgg16 --weights my_weights.pth --out vgg16.pt       a state dict of your own
    export_torchscript.py vgg16 --weights random --seed 1 --out vgg16.pt      for tests

The official files come from PyTorch's own server, once, into --cache, and are refused unless their SHA-256 is that of the
manifest, weights.json.
"""
import argparse
import hashlib
import json
import os
import pathlib
import sys
import urllib.request

import torch

import artefact
from networks import NETWORKS

HERE = pathlib.Path(__file__).resolve().parent
TORCH_MODE = {"resize_shorter_px": 256, "crop_height_px": 224, "crop_width_px": 224, "interpolation": "bilinear",
              "channels": "rgb", "scale": 1 / 255, "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}
PREPROCESSING = {
    "torch": TORCH_MODE,
    "torch_232": TORCH_MODE | {"resize_shorter_px": 232},
    "vgg_features": TORCH_MODE | {"mean": [0.48235, 0.45882, 0.40784], "std": [1 / 255] * 3},
}


def imagenet_labels():
    rows = (HERE / "imagenet1k.txt").read_text().split("\n")
    return [dict(zip(("id", "name"), row.split(" ", 1))) for row in rows if row]


def verify(path, expected):
    """`expected` may be the first digits alone, where no more of them is known."""
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if not digest.startswith(expected):
        raise SystemExit(f"{path}: expected SHA-256 {expected}, found {digest}: "
                         "the file is damaged or not the official one; delete it and fetch it again")


def official(name, weights_set, cache):
    """The official state dict, fetched unless it is in the cache."""
    manifest = json.loads((HERE / "weights.json").read_text())
    entry = manifest["weights"][name].get(weights_set)
    if entry is None:
        raise SystemExit(f"{name} has no weights {weights_set}; there are {', '.join(manifest['weights'][name])}")
    path = cache / entry["file"]
    if not path.exists():
        cache.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".partial")
        print(f"fetching {manifest['server']}{entry['file']}", file=sys.stderr)
        try:
            urllib.request.urlretrieve(manifest["server"] + entry["file"], partial)
        except OSError as error:
            raise SystemExit(f"cannot fetch {entry['file']}: {error}. Fetch it on another machine and give it with "
                             f"--weights {entry['file']}, or put it into {cache}")
        verify(partial, entry["sha256"])
        os.replace(partial, path)
    verify(path, entry["sha256"])
    return load(path), PREPROCESSING[entry["preprocessing"]]


def load(path):
    return torch.load(path, map_location="cpu", weights_only=True)


def fill(net, state, allow_missing=()):
    """Strict but for counters and layers that are known to be absent; names what does not fit."""
    missing, unexpected = net.load_state_dict(state, strict=False)
    missing = [m for m in missing if not m.endswith("num_batches_tracked") and not m.startswith(tuple(allow_missing) or ("\0",))]
    if missing or unexpected:
        raise SystemExit(f"the weights do not fit: missing {missing[:8]}, unexpected {unexpected[:8]}")


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("network", choices=sorted(NETWORKS))
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--weights", default="official", help="official, random, or a state dict's file")
    parser.add_argument("--weights-set", default="IMAGENET1K_V1", help="which official set")
    parser.add_argument("--cache", type=pathlib.Path, default=pathlib.Path.home() / ".cache" / "graft")
    parser.add_argument("--seed", type=int, default=0, help="of random weights")
    parser.add_argument("--classes", type=int, default=1000)
    parser.add_argument("--format", choices=("scripted", "traced"), default="scripted")
    args = parser.parse_args(argv)

    torch.manual_seed(args.seed)
    net = NETWORKS[args.network](args.classes)
    preprocessing = PREPROCESSING["torch"]
    if args.weights == "official":
        state, preprocessing = official(args.network, args.weights_set, args.cache)
        fill(net, state, allow_missing=("classifier",) if args.weights_set == "IMAGENET1K_FEATURES" else ())
    elif args.weights != "random":
        fill(net, load(args.weights))
    net.eval()

    description = {"preprocessing": preprocessing}
    if args.classes == 1000:
        description["labels"] = imagenet_labels()
    if args.out.suffix == ".safetensors":
        artefact.save_weights(net, args.out, description)
        print(f"wrote {args.out} ({args.out.stat().st_size / 1e6:.0f} MB)")
        return
    module = torch.jit.script(net) if args.format == "scripted" else torch.jit.trace(net, torch.zeros(1, 3, 224, 224))
    artefact.save(module, args.out, description)
    print(f"wrote {args.out} ({args.out.stat().st_size / 1e6:.0f} MB, {args.format})")


if __name__ == "__main__":
    main()
