"""What Graft reads beside the network in a TorchScript file: graft.json, and the golden picture's pixels.

save() states the SHA-256 of the weights and, where the preprocessing is known, the logits of a picture as PyTorch and
Pillow compute them here: Graft recomputes both when it loads the file, so a network that would answer otherwise there is
noticed.
"""
import hashlib
import json

import numpy as np
import torch
from PIL import Image

METHODS = {"nearest": Image.Resampling.NEAREST, "bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}
# As ATen prints them.
TYPES = {torch.float32: "Float", torch.float64: "Double", torch.float16: "Float", torch.bfloat16: "Float", torch.int64: "Long",
         torch.int32: "Int", torch.bool: "Bool", torch.uint8: "Byte"}
GOLDEN_SIDE = 64


def prepare(image, p):
    """An RGB picture as the network's input [3, H, W]."""
    width, height = p["crop_width_px"], p["crop_height_px"]
    if p["resize_shorter_px"] is None:
        image = image.resize((width, height), METHODS[p["interpolation"]])
    else:
        size, (w, h) = p["resize_shorter_px"], image.size
        image = image.resize((size, int(size * h / w)) if w <= h else (int(size * w / h), size), METHODS[p["interpolation"]])
        left, top = int(round((image.width - width) / 2)), int(round((image.height - height) / 2))
        image = image.crop((left, top, left + width, top + height))
    x = np.asarray(image, np.float32)
    x = x[..., ::-1] if p["channels"] == "bgr" else x
    x = (x / np.float32(1 / p["scale"]) - np.float32(p["mean"])) / np.float32(p["std"])
    return torch.from_numpy(np.ascontiguousarray(x.transpose(2, 0, 1)))


def content_hash(module):
    """SHA-256 over name, shape, type and bytes of every parameter, then of every buffer (src/model/hash.cpp)."""
    sha = hashlib.sha256()
    for name, tensor in [*module.named_parameters(), *module.named_buffers()]:
        tensor = tensor.detach().cpu()
        if tensor.is_floating_point() and tensor.dtype != torch.float32:
            tensor = tensor.float()  # as Graft loads them
        sha.update(f"{name} {list(tensor.shape)} {TYPES[tensor.dtype]}\n".encode())
        sha.update(np.ascontiguousarray(tensor.numpy()).tobytes())
    return sha.hexdigest()


def golden_picture():
    """Fields, edges and fine texture in all three channels."""
    y, x = np.mgrid[0:GOLDEN_SIDE, 0:GOLDEN_SIDE]
    inside = (x - 24) ** 2 + (y - 36) ** 2 < 256
    rgb = [np.where(inside, 230 - y, 4 * x), np.where(inside, 60 + 2 * x, 4 * y), (x * 37 + y * 57) % 256]
    return np.stack(rgb, -1).astype(np.uint8)


def save(module, path, description):
    """Writes a scripted or traced module in evaluation mode with its description."""
    description = {"schema": 1, **description, "sha256": content_hash(module)}
    records = {}
    if "preprocessing" in description:
        picture = golden_picture()
        batch = prepare(Image.fromarray(picture), description["preprocessing"])[None]
        with torch.inference_mode():
            logits = module(batch)[0].float()
        description["golden"] = {"width_px": GOLDEN_SIDE, "height_px": GOLDEN_SIDE, "tolerance": 1e-3,
                                 "logits": [float(value) for value in logits]}
        records["graft_golden.rgb"] = picture.tobytes()
    records["graft.json"] = json.dumps(description)
    torch.jit.save(module, str(path), _extra_files=records)


def save_weights(module, path, description):
    """Writes the weights alone, as safetensors with the description among the metadata."""
    from safetensors.torch import save_file  # pip install safetensors

    description = {"schema": 1, **description, "sha256": content_hash(module)}
    save_file(module.state_dict(), str(path), metadata={"format": "pt", "graft.json": json.dumps(description)})
