"""What Graft reads beside the network in a TorchScript file: graft.json, and the golden picture's pixels, or a vocabulary.

save() states the SHA-256 of the weights and, where the preprocessing is known, the logits of a picture as PyTorch and
Pillow compute them here: Graft recomputes both when it loads the file, so a network that would answer otherwise there is
noticed.
"""
import copy
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
GOLDEN_TEXT = "The quick brown fox: 42 caf\u00e9s, na\u00efve \u4e2d\u6587 & emoji \U0001f600!"
# How BERT's texts are split, as graft.json has it (include/graft/tokenizer.h).
TOKENIZER = {"type": "wordpiece", "lower_case": True, "strip_accents": None, "split_cjk": True, "max_length": 512, "max_word_length": 100,
             "special_tokens_in_text": True, "unknown": "[UNK]", "first": "[CLS]", "last": "[SEP]", "padding": "[PAD]", "mask": "[MASK]"}


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
    """SHA-256 over name, shape, type and bytes of every parameter, then of every buffer, tied ones under each of their names (src/model/hash.cpp)."""
    sha = hashlib.sha256()
    for name, tensor in [*module.named_parameters(remove_duplicate=False), *module.named_buffers(remove_duplicate=False)]:
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
            logits = copy.deepcopy(module)(batch)[0].float()  # it may count its calls
        description["golden"] = {"width_px": GOLDEN_SIDE, "height_px": GOLDEN_SIDE, "tolerance": 1e-3,
                                 "logits": [float(value) for value in logits]}
        records["graft_golden.rgb"] = picture.tobytes()
    records["graft.json"] = json.dumps(description)
    torch.jit.save(module, str(path), _extra_files=records)


def tokenizer_of(description, vocabulary):
    """The Python package's, as the description says. Takes lists of texts: batches [N, T]."""
    from tokenizers import AddedToken, Tokenizer, models, normalizers, pre_tokenizers, processors  # pip install tokenizers

    d, index = description, {piece: i for i, piece in enumerate(vocabulary)}
    tokenizer = Tokenizer(models.WordPiece(index, unk_token=d["unknown"], max_input_chars_per_word=d["max_word_length"]))
    tokenizer.normalizer = normalizers.BertNormalizer(clean_text=True, handle_chinese_chars=d["split_cjk"], strip_accents=d["strip_accents"],
                                                      lowercase=d["lower_case"])
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.BertProcessing((d["last"], index[d["last"]]), (d["first"], index[d["first"]]))
    special = [d[name] for name in ("unknown", "first", "last", "padding", "mask") if d[name] in index]
    tokenizer.add_special_tokens([AddedToken(token, normalized=False) for token in special])
    tokenizer.encode_special_tokens = not d["special_tokens_in_text"]
    tokenizer.enable_truncation(d["max_length"])
    tokenizer.enable_padding(pad_id=index[d["padding"]], pad_token=d["padding"])
    return lambda texts: torch.tensor([encoding.ids for encoding in tokenizer.encode_batch(texts)])


def save_text(module, path, description, vocabulary):
    """Writes a scripted network for texts in evaluation mode with its description, which has a tokenizer, and vocabulary."""
    description = {"schema": 2, **description, "sha256": content_hash(module)}
    with torch.inference_mode():
        logits = module(tokenizer_of(description["tokenizer"], vocabulary)([GOLDEN_TEXT]))[0].float()
    description["golden"] = {"text": GOLDEN_TEXT, "tolerance": 1e-3, "logits": [float(value) for value in logits]}
    records = {"graft.json": json.dumps(description), "graft_vocabulary.txt": "".join(piece + "\n" for piece in vocabulary)}
    torch.jit.save(module, str(path), _extra_files=records)


def save_weights(module, path, description):
    """Writes the weights alone, as safetensors with the description among the metadata."""
    from safetensors.torch import save_file  # pip install safetensors

    description = {"schema": 1, **description, "sha256": content_hash(module)}
    save_file(module.state_dict(), str(path), metadata={"format": "pt", "graft.json": json.dumps(description)})
