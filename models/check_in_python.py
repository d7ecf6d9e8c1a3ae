#!/usr/bin/env python3
"""Compares a saved model's predictions in Python with those of the graft program, picture by picture.

    check_in_python.py MODEL.pt PICTURES --graft build/release/graft [--tolerance 0.01]

Loads the file with torch.jit.load alone and prepares the pictures with Pillow, as its record graft.json says.
"""
import argparse
import json
import pathlib
import subprocess

import torch
from PIL import Image, ImageOps

import artefact


def read(path):
    return ImageOps.exif_transpose(Image.open(path)).convert("RGB")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("pictures")
    parser.add_argument("--graft", required=True)
    parser.add_argument("--tolerance", type=float, default=0.01, help="largest difference of a probability")
    args = parser.parse_args()

    output = subprocess.run([args.graft, "classify", args.model, args.pictures, "--json", "--quiet", "--top-k", "1000000",
                             "--on-bad-image", "skip"], check=True, capture_output=True, text=True).stdout
    ours = json.loads(output)["predictions"]
    extra = {"graft.json": ""}
    net = torch.jit.load(args.model, _extra_files=extra).eval()
    record = json.loads(extra["graft.json"])
    preprocessing = record["preprocessing"]
    temperature = (record.get("tasks") or [{}])[0].get("temperature", 1)  # the network's outputs know nothing of it
    same, largest = 0, 0.0
    with torch.inference_mode():
        for at in range(0, len(ours), 64):
            part = ours[at:at + 64]
            logits = net(torch.stack([artefact.prepare(read(entry["file"]), preprocessing) for entry in part]))
            probabilities = (logits / temperature).softmax(1)
            for entry, row in zip(part, probabilities):
                same += int(row.argmax()) == entry["top"][0]["index"]
                largest = max(largest, max(abs(float(row[guess["index"]]) - guess["probability"]) for guess in entry["top"]))
    print(f"{same} of {len(ours)} predictions are the same in Python; largest difference of a probability {largest:.6f}")
    if same != len(ours) or largest > args.tolerance:
        raise SystemExit(f"{pathlib.Path(args.model).name}: Python disagrees")


if __name__ == "__main__":
    main()
