#!/usr/bin/env python3
"""The exporter: names, shapes and counts are torchvision's, formats agree, wrong files are refused."""
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

import torch

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "models"))
import artefact  # noqa: E402
import export_torchscript  # noqa: E402
import networks  # noqa: E402


def export(*arguments):
    return subprocess.run([sys.executable, str(ROOT / "models" / "export_torchscript.py"), *map(str, arguments)],
                          capture_output=True, text=True)


class Unusual(torch.nn.Module):
    """Two layers share their weights, and the calls are counted."""

    def __init__(self):
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 4, 3)
        self.first = torch.nn.Conv2d(4, 4, 3)
        self.second = torch.nn.Conv2d(4, 4, 3)
        self.second.weight = self.first.weight
        self.third = self.second
        self.fc = torch.nn.Linear(4, 3)
        self.register_buffer("calls", torch.zeros(1))

    def forward(self, x):
        self.calls += 1
        return self.fc(self.third(self.second(self.first(self.conv(x)))).mean((2, 3)))


class Networks(unittest.TestCase):
    # Parameter counts and names as torchvision's documentation and state dicts give them.
    def test_vgg16(self):
        state = networks.VGG16().state_dict()
        self.assertEqual(sum(t.numel() for t in state.values()), 138_357_544)
        convolutions = [0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28]
        expected = [f"features.{i}.{p}" for i in convolutions for p in ("weight", "bias")]
        expected += [f"classifier.{i}.{p}" for i in (0, 3, 6) for p in ("weight", "bias")]
        self.assertEqual(list(state), expected)
        self.assertEqual(tuple(state["classifier.0.weight"].shape), (4096, 25088))

    def test_resnet50(self):
        net = networks.ResNet50()
        self.assertEqual(sum(p.numel() for p in net.parameters()), 25_557_032)
        state = net.state_dict()
        self.assertEqual(len(state), 320)
        self.assertEqual(tuple(state["layer4.0.downsample.0.weight"].shape), (2048, 1024, 1, 1))
        self.assertEqual(net.layer3[0].conv2.stride, (2, 2))  # v1.5: the stride is on the 3 x 3
        self.assertEqual(tuple(state["fc.weight"].shape), (1000, 2048))


class Export(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.out = pathlib.Path(self.folder.name)
        self.addCleanup(self.folder.cleanup)

    def test_random_weights_are_seeded_and_formats_agree(self):
        for name, extra in (("a", []), ("b", ["--format", "traced"]), ("c", ["--seed", 2])):
            result = export("resnet50", "--weights", "random", "--out", self.out / f"{name}.pt", *extra)
            self.assertEqual(result.returncode, 0, result.stderr)
        files = {"graft.json": ""}
        nets = [torch.jit.load(str(self.out / f"{name}.pt"), _extra_files=files) for name in "abc"]
        x = torch.randn(1, 3, 224, 224)
        with torch.inference_mode():
            a, b, c = (net(x) for net in nets)
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-4)
        self.assertFalse(torch.allclose(a, c))
        description = json.loads(files["graft.json"])
        self.assertEqual(description["labels"][386], {"id": "n02504458", "name": "African_elephant"})
        self.assertEqual(description["preprocessing"]["scale"], 1 / 255)

    def test_weights_alone_are_the_same_network(self):
        """Model::from_safetensors makes the network itself: the program answers as it does for the TorchScript file of PyTorch's own making."""
        program = os.environ.get("GRAFT_PROGRAM")
        if not program or not pathlib.Path(program).exists():
            self.skipTest("without the program")
        picture = ROOT / "examples" / "images" / "star.png"
        for network in ("resnet50", "vgg16"):
            answers = []
            for name in ("weights.safetensors", "whole.pt"):
                result = export(network, "--weights", "random", "--classes", 5, "--out", self.out / name)
                self.assertEqual(result.returncode, 0, result.stderr)
                result = subprocess.run([program, "classify", str(self.out / name), str(picture), "--json"], capture_output=True, text=True)
                self.assertEqual(result.returncode, 0, result.stderr)
                answers.append({one["index"]: one["probability"] for one in json.loads(result.stdout)["predictions"][0]["top"]})
                (self.out / name).unlink()
            self.assertEqual(len(answers[0]), 5)
            for index, probability in answers[1].items():
                self.assertAlmostEqual(answers[0][index], probability, delta=1e-4)

    def test_tied_weights_and_counters_are_hashed_as_they_are_read(self):
        program = os.environ.get("GRAFT_PROGRAM")
        if not program or not pathlib.Path(program).exists():
            self.skipTest("without the program")
        artefact.save(torch.jit.script(Unusual().eval()), self.out / "unusual.pt",
                      {"preprocessing": {**export_torchscript.PREPROCESSING["torch"], "resize_shorter_px": 40, "crop_height_px": 32, "crop_width_px": 32}})
        result = subprocess.run([program, "inspect", str(self.out / "unusual.pt"), "--json"], capture_output=True, text=True)
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertEqual(json.loads(result.stdout)["parameters"], 112 + 148 + 4 + 15)

    def test_weights_that_do_not_fit_are_refused_by_name(self):
        state = networks.ResNet50(10).state_dict()
        state["layer9.weight"] = state.pop("layer4.2.bn3.weight")
        torch.save(state, self.out / "bad.pth")
        result = export("resnet50", "--classes", 10, "--weights", self.out / "bad.pth", "--out", self.out / "x.pt")
        self.assertEqual(result.returncode, 1)
        self.assertIn("layer4.2.bn3.weight", result.stderr)
        self.assertIn("layer9.weight", result.stderr)

    def test_a_file_with_another_hash_is_refused(self):
        (self.out / "resnet50-0676ba61.pth").write_bytes(b"not the official weights")
        result = export("resnet50", "--cache", self.out, "--out", self.out / "x.pt")
        self.assertEqual(result.returncode, 1)
        self.assertIn("expected SHA-256 0676ba61b6795bbe", result.stderr)
        self.assertFalse((self.out / "x.pt").exists())

    def test_hashes_are_those_of_the_published_names(self):
        manifest = json.loads((ROOT / "models" / "weights.json").read_text())
        for sets in manifest["weights"].values():
            for name, entry in sets.items():
                self.assertTrue(entry["file"].endswith(f"-{entry['sha256'][:8]}.pth"), entry)
                self.assertIn(len(entry["sha256"]), (64,) if name != "IMAGENET1K_FEATURES" else (8,))

    def test_labels_are_complete(self):
        labels = export_torchscript.imagenet_labels()
        self.assertEqual((len(labels), len({label["id"] for label in labels})), (1000, 1000))


if __name__ == "__main__":
    unittest.main()
