#!/usr/bin/env python3
"""The exporter of sentence encoders. With GRAFT_TEXT_CHECKPOINT set to the folder of all-MiniLM-L6-v2, its published answers too."""
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

import torch
from torch import nn

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "models"))
import artefact  # noqa: E402
import text_networks  # noqa: E402

CHECKPOINT = pathlib.Path(os.environ.get("GRAFT_TEXT_CHECKPOINT", "/nonexistent"))


def export(*arguments):
    return subprocess.run([sys.executable, str(ROOT / "models" / "export_text_torchscript.py"), *map(str, arguments)], capture_output=True, text=True)


def load(path):
    files = {"graft.json": "", "graft_vocabulary.txt": ""}
    net = torch.jit.load(str(path), _extra_files=files)
    description = json.loads(files["graft.json"])
    tokenize = artefact.tokenizer_of(description["tokenizer"], files["graft_vocabulary.txt"].decode().removesuffix("\n").split("\n"))
    return net, description, tokenize


class Encoder(unittest.TestCase):
    def test_it_is_a_transformer_as_torch_has_it(self):
        """torch.nn.TransformerEncoderLayer with the same weights, and the mean of what is no padding."""
        torch.manual_seed(0)
        config = {"hidden_size": 24, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 40, "max_position_embeddings": 12,
                  "type_vocab_size": 2, "layer_norm_eps": 1e-12, "vocab_size": 50}
        net = text_networks.SentenceEncoder(config, padding=0).eval()
        for parameter in net.parameters():
            nn.init.normal_(parameter, std=0.3)
        tokens = torch.randint(1, 50, (3, 10))
        tokens[1, 6:], tokens[2, 2:] = 0, 0
        e = net.embeddings
        x = nn.functional.layer_norm(e.word_embeddings(tokens) + e.position_embeddings(torch.arange(10)) + e.token_type_embeddings(torch.zeros_like(tokens)),
                                     (24,), e.LayerNorm.weight, e.LayerNorm.bias, 1e-12)
        for ours in net.encoder.layer:
            theirs = nn.TransformerEncoderLayer(24, 4, 40, dropout=0, activation="gelu", layer_norm_eps=1e-12, batch_first=True)
            a = ours.attention
            parts = [a.self.query, a.self.key, a.self.value]
            theirs.load_state_dict({"self_attn.in_proj_weight": torch.cat([p.weight for p in parts]), "self_attn.in_proj_bias": torch.cat([p.bias for p in parts])}
                                   | {f"{name}.{p}": getattr(module, p) for name, module in
                                      (("self_attn.out_proj", a.output.dense), ("norm1", a.output.LayerNorm), ("linear1", ours.intermediate.dense),
                                       ("linear2", ours.output.dense), ("norm2", ours.output.LayerNorm)) for p in ("weight", "bias")})
            x = theirs(x, src_key_padding_mask=tokens == 0)
        means = torch.stack([row[t != 0].mean(0) for row, t in zip(x, tokens)])
        torch.testing.assert_close(net(tokens), means / means.norm(dim=1, keepdim=True), rtol=0, atol=1e-5)


class Export(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.out = pathlib.Path(folder.name)

    def test_a_tiny_one(self):
        for name, extra in (("a", []), ("b", []), ("c", ["--seed", 1, "--max-length", 9, "--dropout", 0.5])):
            result = export("--tiny", "--out", self.out / f"{name}.pt", *extra)
            self.assertEqual(result.returncode, 0, result.stderr)
        net, description, tokenize = load(self.out / "a.pt")
        texts = ["The first text, a little longer than", "another one", ""]
        with torch.inference_mode():
            together = net(tokenize(texts))
            torch.testing.assert_close(together, torch.cat([net(tokenize([text])) for text in texts]), rtol=0, atol=1e-6)
            torch.testing.assert_close(together.norm(dim=1), torch.ones(3))
            torch.testing.assert_close(together, load(self.out / "b.pt")[0](tokenize(texts)), rtol=0, atol=0)
            golden = description["golden"]
            torch.testing.assert_close(net(tokenize([golden["text"]]))[0], torch.tensor(golden["logits"]), rtol=0, atol=1e-6)
        other, description, tokenize = load(self.out / "c.pt")
        self.assertEqual((tokenize(texts).shape[1], description["tokenizer"]["max_length"]), (9, 9))
        self.assertEqual([name for name, module in other.named_modules() if "dropout" in name and module.original_name == "Dropout"][0],
                         "encoder.layer.0.attention.output.dropout")

    def test_what_does_not_fit_is_refused(self):
        config = {"model_type": "bert", "hidden_act": "gelu", "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8,
                  "max_position_embeddings": 8, "type_vocab_size": 2, "layer_norm_eps": 1e-12, "vocab_size": 6}
        (self.out / "vocab.txt").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\na\n")
        from safetensors.torch import save_file
        state = text_networks.SentenceEncoder(config, 0).state_dict()
        state["encoder.layer.0.output.dense.other"] = state.pop("encoder.layer.0.output.dense.weight")
        save_file(state, str(self.out / "model.safetensors"))
        for change, message in (({}, "encoder.layer.0.output.dense.weight"), ({"model_type": "gpt2"}, "expected a checkpoint of a BERT, found gpt2"),
                                ({"vocab_size": 3}, "the vocabulary has 5 pieces, the network 3")):
            (self.out / "config.json").write_text(json.dumps(config | change))
            result = export("--checkpoint", self.out, "--out", self.out / "x.pt")
            self.assertEqual(result.returncode, 1)
            self.assertIn(message, result.stderr)
            self.assertFalse((self.out / "x.pt").exists())

    @unittest.skipUnless(CHECKPOINT.is_dir(), "GRAFT_TEXT_CHECKPOINT is not set to the folder of all-MiniLM-L6-v2")
    def test_published_answers(self):
        result = export("--checkpoint", CHECKPOINT, "--out", self.out / "minilm.pt")
        self.assertEqual(result.returncode, 0, result.stderr)
        net, _, tokenize = load(self.out / "minilm.pt")
        with torch.inference_mode():
            # The examples of the model's card and of its widget.
            found = net(tokenize(["This is an example sentence", "That is a happy person", "That is a happy dog", "That is a very happy person",
                                  "Today is a sunny day"]))
        torch.testing.assert_close(found[0, :6], torch.tensor([0.0676569, 0.0634959, 0.0487131, 0.0793049, 0.0374480, 0.00265275]), rtol=0, atol=1e-5)
        torch.testing.assert_close(found[2:] @ found[1], torch.tensor([0.6946, 0.9429, 0.2569]), rtol=0, atol=1e-3)
        torch.testing.assert_close(found.norm(dim=1), torch.ones(5))


if __name__ == "__main__":
    unittest.main()
