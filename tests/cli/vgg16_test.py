#!/usr/bin/env python3
"""A whole VGG16 with seeded random weights, scripted and traced: the same logits as in Python, and the examples run on it."""
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

import numpy as np
import torch
from PIL import Image

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "models"))
import artefact  # noqa: E402
import networks  # noqa: E402

GRAFT = os.environ["GRAFT_PROGRAM"]
EXAMPLES = pathlib.Path(os.environ["GRAFT_EXAMPLES"])


class Vgg16(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.scratch = tempfile.TemporaryDirectory()
        cls.out = pathlib.Path(cls.scratch.name)
        for form in ("scripted", "traced"):
            subprocess.run([sys.executable, str(ROOT / "models" / "export_torchscript.py"), "vgg16", "--weights", "random", "--seed", "3",
                            "--out", str(cls.out / f"{form}.pt"), "--format", form], check=True, stdout=subprocess.DEVNULL)
        rng = np.random.default_rng(5)
        for part in ("train", "val"):
            for c, name in enumerate(("dark", "light")):
                (cls.out / "data" / part / name).mkdir(parents=True)
                for i in range(4):
                    pixels = rng.integers(100 * c, 120 + 100 * c, (250, 300, 3), dtype=np.uint8)
                    Image.fromarray(pixels).save(cls.out / "data" / part / name / f"{i}.png")

    @classmethod
    def tearDownClass(cls):
        cls.scratch.cleanup()

    def test_logits_equal_python(self):
        torch.manual_seed(3)
        net = networks.VGG16().eval()
        extra = {"graft.json": ""}
        torch.jit.load(str(self.out / "scripted.pt"), _extra_files=extra)
        preprocessing = json.loads(extra["graft.json"])["preprocessing"]
        pictures = sorted((self.out / "data" / "val").rglob("*.png"))
        with torch.inference_mode():
            expected = net(torch.stack([artefact.prepare(Image.open(p), preprocessing) for p in pictures]))
        for form in ("scripted", "traced"):
            # The output of the last layer, by name: logits.
            subprocess.run([GRAFT, "embed", str(self.out / f"{form}.pt"), str(self.out / "data" / "val"), "--layer", "classifier.6",
                            "--out", str(self.out / "logits.npy"), "--quiet"], check=True)
            difference = np.abs(np.load(self.out / "logits.npy") - expected.numpy()).max()
            print(f"{form}: largest difference of a logit {difference:.2g} (largest logit {expected.abs().max():.2g})")
            self.assertLessEqual(difference, 1e-4)

    def test_inspect_recognises_it(self):
        info = json.loads(subprocess.run([GRAFT, "inspect", str(self.out / "traced.pt"), "--json"], check=True, capture_output=True).stdout)
        self.assertEqual((info["family"], info["origin"], info["head"], info["features_layer"], info["penultimate_layer"]),
                         ("vgg16", "traced", "classifier", "features", "classifier.6"))
        self.assertEqual(info["parameters"], 138_357_544)
        self.assertEqual(info["labels"][386]["label"], "African_elephant")

    def test_the_examples_run_on_it(self):
        data = self.out / "data"
        for name, arguments in (("fine_tune", [data / "train", data / "val", self.out / "a.pt", 1]),
                                ("fine_tune_folder", [data, self.out / "b.pt", 1, 1])):
            result = subprocess.run([str(EXAMPLES / name), str(self.out / "scripted.pt"), *map(str, arguments)], capture_output=True, text=True)
            self.assertEqual(result.returncode, 0, result.stderr)
            self.assertIn("unchanged", result.stdout)
        self.assertLess((self.out / "a.pt").stat().st_size, 70e6)  # the dense layers of 120 million weights are gone


if __name__ == "__main__":
    unittest.main()
