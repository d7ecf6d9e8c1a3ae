#!/usr/bin/env python3
"""Writes a TorchScript classifier, such as Graft saves, as ONNX with a free batch size, and checks the result with ONNX Runtime.

    export_onnx.py MODEL.pt --out MODEL.onnx [--input HEIGHTxWIDTH] [--tolerance 1e-4]

The model takes "input" [N, 3, H, W] and yields "logits" [N, classes], float32. The file's metadata hold Graft's record:
"graft.preprocessing" and "graft.labels" (JSON), "graft.sha256" of the weights. --input is for files without the record.
"""
import argparse
import json
import os
import pathlib
import warnings

try:
    import numpy as np
    import onnx
    import onnxruntime
    import torch
except ImportError as error:
    raise SystemExit(f"{error}: install the packages with: python3 -m pip install torch numpy onnx onnxruntime")

OPSET = 17  # the newest that all of PyTorch's TorchScript exporter knows and that older runtimes read


def read(path):
    """The network in evaluation mode on the CPU, and its record ({} if there is none)."""
    if not path.is_file():
        raise SystemExit(f"{path}: no such file")
    extra = {"graft.json": ""}
    try:
        network = torch.jit.load(str(path), map_location="cpu", _extra_files=extra)
    except (RuntimeError, ValueError) as error:
        raise SystemExit(f"{path}: not a TorchScript file: {str(error).splitlines()[0]}")
    return network.eval(), json.loads(extra["graft.json"] or b"{}")


def side(text):
    height, _, width = text.partition("x")
    return int(height), int(width or height)


def input_size(given, record, path):
    if given:
        return given
    if "preprocessing" not in record:
        raise SystemExit(f"{path}: it does not say how large its pictures are (no record graft.json); give --input HEIGHTxWIDTH")
    return record["preprocessing"]["crop_height_px"], record["preprocessing"]["crop_width_px"]


def write(network, size, record, path):
    # What is left after freezing has no `if self.training` in it and its batch norms are folded where they can be.
    # PyTorch's newer exporter starts from a module's Python source, which a saved file no longer has.
    frozen = torch.jit.freeze(network)
    partial = path.with_name(path.name + ".partial")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.onnx.export(frozen, (torch.zeros(2, 3, *size),), str(partial), dynamo=False, opset_version=OPSET,
                              input_names=["input"], output_names=["logits"],
                              dynamic_axes={"input": {0: "N"}, "logits": {0: "N"}})
        model = onnx.load(str(partial))
        metadata = {f"graft.{key}": record[key] if key == "sha256" else json.dumps(record[key])
                    for key in ("preprocessing", "labels", "sha256") if key in record}
        onnx.helper.set_model_props(model, metadata)
        onnx.checker.check_model(model)
        onnx.save(model, str(partial))
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def largest_difference(network, size, path):
    """Of the logits, relative to the largest one, over pictures of noise in batches of several sizes."""
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    generator, worst = torch.Generator().manual_seed(0), 0.0
    for batch in (1, 2, 5):
        x = torch.randn(batch, 3, *size, generator=generator)
        with torch.inference_mode():
            expected = network(x).float().numpy()
        found, = session.run(["logits"], {"input": x.numpy()})
        if found.shape != expected.shape:
            raise SystemExit(f"{path}: expected logits {expected.shape} for a batch of {batch}, found {found.shape}")
        worst = max(worst, float(np.abs(found - expected).max() / np.abs(expected).max()))
    return worst


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=pathlib.Path)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--input", type=side, metavar="HEIGHTxWIDTH", help="size of the pictures, where the file does not say")
    parser.add_argument("--tolerance", type=float, default=1e-4, help="largest difference of a logit, relative to the largest logit")
    args = parser.parse_args(argv)
    if not args.out.absolute().parent.is_dir():
        raise SystemExit(f"{args.out}: there is no such folder")
    network, record = read(args.model)
    size = input_size(args.input, record, args.model)
    write(network, size, record, args.out)
    difference = largest_difference(network, size, args.out)
    print(f"wrote {args.out} ({args.out.stat().st_size / 1e6:.1f} MB), input [N, 3, {size[0]}, {size[1]}]; "
          f"largest difference from TorchScript {difference:.1e} of the largest logit, batches of 1, 2 and 5")
    if not difference <= args.tolerance:
        raise SystemExit(f"{args.out}: ONNX Runtime disagrees: {difference:.1e}, tolerance {args.tolerance:.1e}")


if __name__ == "__main__":
    main()
