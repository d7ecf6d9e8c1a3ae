#!/usr/bin/env python3
"""models/export_onnx.py: the same logits from ONNX Runtime for every kind of file, what the file says of itself, and refusals.
GRAFT_PROGRAM is the program."""
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import unittest

import numpy as np
import onnx
import onnxruntime
import torch
from PIL import Image

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "models"))
import artefact  # noqa: E402
import export_torchscript  # noqa: E402
import networks  # noqa: E402

MINI = ROOT / "models" / "graft_mini.pt"


def export(*arguments, **environment):
    return subprocess.run([sys.executable, str(ROOT / "models" / "export_onnx.py"), *map(str, arguments)],
                          capture_output=True, text=True, env=os.environ | environment)


class Onnx(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def check(self, path, size):
        """Exports and compares here too, with batches that the script did not look at; returns the ONNX model."""
        out = self.folder / "model.onnx"
        result = export(path, "--out", out)
        self.assertEqual(result.returncode, 0, result.stdout + result.stderr)
        printed = float(re.search(r"largest difference from TorchScript (\S+) of", result.stdout)[1])
        self.assertLessEqual(printed, 1e-4)
        network = torch.jit.load(str(path)).eval()
        session = onnxruntime.InferenceSession(str(out), providers=["CPUExecutionProvider"])
        for batch in (1, 3):
            x = torch.rand(batch, 3, size, size, generator=torch.Generator().manual_seed(7)) * 4 - 2
            with torch.inference_mode():
                expected = network(x).numpy()
            found, = session.run(["logits"], {"input": x.numpy()})
            self.assertEqual(found.shape, expected.shape)
            self.assertLessEqual(np.abs(found - expected).max(), 1e-4 * np.abs(expected).max())
        return onnx.load(str(out))

    def test_the_embedded_network_and_what_its_file_says(self):
        model = self.check(MINI, 64)
        shape = model.graph.input[0].type.tensor_type.shape.dim
        self.assertEqual([d.dim_param or d.dim_value for d in shape], ["N", 3, 64, 64])
        metadata = {entry.key: entry.value for entry in model.metadata_props}
        extra = {"graft.json": ""}
        torch.jit.load(str(MINI), _extra_files=extra)
        record = json.loads(extra["graft.json"])
        self.assertEqual(json.loads(metadata["graft.preprocessing"]), record["preprocessing"])
        self.assertEqual(json.loads(metadata["graft.labels"]), record["labels"])
        self.assertEqual(metadata["graft.sha256"], record["sha256"])

    def test_a_fine_tuned_model_with_a_hidden_layer(self):
        for name, grey in (("dark", 40), ("light", 200)):
            (self.folder / "data" / name).mkdir(parents=True)
            for i in range(2):
                Image.new("RGB", (64, 64), (grey, grey, 20 * i)).save(self.folder / "data" / name / f"{i}.png")
        tuned = self.folder / "tuned.pt"
        subprocess.run([os.environ["GRAFT_PROGRAM"], "finetune", MINI, "--train", self.folder / "data", "--val", self.folder / "data",
                        "--out", tuned, "--head", "mlp:32", "--epochs", "1", "--quiet"], check=True, capture_output=True)
        self.assertNotIn("If", {node.op_type for node in self.check(tuned, 64).graph.node})

    def save(self, network, kind):
        torch.manual_seed(0)
        path = self.folder / "network.pt"
        module = torch.jit.script(network) if kind == "scripted" else torch.jit.trace(network, torch.zeros(1, 3, 224, 224))
        artefact.save(module, path, {"preprocessing": export_torchscript.PREPROCESSING["torch"]})
        return path

    def test_resnet50(self):
        for kind in ("scripted", "traced"):
            self.check(self.save(networks.ResNet50(10).eval(), kind), 224)

    def test_vgg16(self):
        network = networks.VGG16(10)
        # The dense layers' widths, which are nine tenths of the weights, change nothing in the graph.
        network.classifier[0], network.classifier[3] = torch.nn.Linear(512 * 49, 64), torch.nn.Linear(64, 64)
        network.classifier[6] = torch.nn.Linear(64, 10)
        for kind in ("scripted", "traced"):
            model = self.check(self.save(network.eval(), kind), 224)
            self.assertFalse({"If", "Dropout"} & {node.op_type for node in model.graph.node})

    def test_the_size_of_pictures_is_asked_for_where_the_file_does_not_say(self):
        plain = self.folder / "plain.pt"
        torch.jit.save(torch.jit.load(str(MINI)), str(plain))
        refused = export(plain, "--out", self.folder / "x.onnx")
        self.assertEqual(refused.returncode, 1)
        self.assertIn("give --input HEIGHTxWIDTH", refused.stderr)
        self.assertEqual(export(plain, "--out", self.folder / "x.onnx", "--input", "64x64").returncode, 0)

    def test_refusals(self):
        out = self.folder / "x.onnx"
        (self.folder / "text.pt").write_text("no model")
        (self.folder / "onnx.py").write_text("raise ImportError('No module named onnx')")
        for arguments, environment, message in (
                ((self.folder / "missing.pt", "--out", out), {}, "missing.pt: no such file"),
                ((self.folder / "text.pt", "--out", out), {}, "text.pt: not a TorchScript file"),
                ((MINI, "--out", self.folder / "nowhere" / "x.onnx"), {}, "no such folder"),
                ((MINI, "--out", out), {"PYTHONPATH": str(self.folder)}, "python3 -m pip install torch numpy onnx onnxruntime")):
            result = export(*arguments, **environment)
            self.assertEqual(result.returncode, 1, arguments)
            self.assertIn(message, result.stderr)
            self.assertEqual(len(result.stderr.splitlines()), 1, result.stderr)
            self.assertFalse(out.exists())

    def test_a_difference_above_the_tolerance_is_an_error(self):
        result = export(MINI, "--out", self.folder / "x.onnx", "--tolerance", "1e-12")
        self.assertEqual(result.returncode, 1)
        self.assertIn("ONNX Runtime disagrees", result.stderr)


if __name__ == "__main__":
    unittest.main()
