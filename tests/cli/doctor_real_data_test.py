#!/usr/bin/env python3
"""The doctor on a real ResNet50 and real photos: each planted fault is found, healthy runs have no findings. Skipped
without GRAFT_DATA (docs/testing.md) and GRAFT_LONG_TESTS=1: it takes ten minutes and more."""
import json
import os
import pathlib
import random
import shutil
import subprocess
import sys
import tempfile
import unittest
import zipfile

import torch
from PIL import Image

GRAFT = os.environ["GRAFT_PROGRAM"]
DATA = pathlib.Path(os.environ.get("GRAFT_DATA", "/nonexistent"))


def run(*arguments):
    result = subprocess.run([GRAFT, *map(str, arguments), "--json", "--quiet"], capture_output=True, text=True)
    if result.returncode:
        raise AssertionError(result.stderr)
    return json.loads(result.stdout)


class Folders:
    """Copies of ants_bees by links, to plant faults in. Healthy: without the original's one unreadable file."""

    def __init__(self, root):
        self.root = root
        for split in ("train", "val"):
            for name in ("ants", "bees"):
                folder = root / split / name
                folder.mkdir(parents=True)
                for file in sorted((DATA / "ants_bees" / split / name).iterdir()):
                    if file.suffix != ".gif":
                        (folder / file.name).symlink_to(file)

    def files(self, split, name):
        return sorted((self.root / split / name).iterdir())

    def swap(self, split, share, seed):
        """Moves this share of each class to the other one."""
        draw = random.Random(seed)
        chosen = {name: draw.sample(self.files(split, name), int(share * len(self.files(split, name))))
                  for name in ("ants", "bees")}
        for name, other in (("ants", "bees"), ("bees", "ants")):
            for file in chosen[name]:
                file.rename(self.root / split / other / ("moved_" + file.name))
        return [file.name for files in chosen.values() for file in files]

    def arguments(self):
        return ["--train", self.root / "train", "--val", self.root / "val"]


@unittest.skipUnless((DATA / "resnet50_imagenet").is_dir(), "GRAFT_DATA is not set to a folder with real data")
@unittest.skipUnless(os.environ.get("GRAFT_LONG_TESTS"), "GRAFT_LONG_TESTS is not set")
class Doctor(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.scratch = tempfile.TemporaryDirectory()
        cls.out = pathlib.Path(cls.scratch.name)
        subprocess.run([sys.executable, str(DATA.parent / "tools" / "real_resnet50.py"), str(cls.out)], check=True, stdout=subprocess.DEVNULL)
        cls.model = cls.out / "resnet50.pt"
        cls.cache = cls.out / "cache"

    @classmethod
    def tearDownClass(cls):
        cls.scratch.cleanup()

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folders = Folders(pathlib.Path(folder.name))

    def examine(self, *flags, model=None):
        document = run("doctor", model or self.model, *self.folders.arguments(), "--feature-cache", self.cache, *flags)
        for finding in document["findings"]:
            print(f"  {self._testMethodName}: {finding['severity']} {finding['code']} ({finding['where']}): {finding['seen']}")
            self.assertIn(finding["code"], document["checked"])
            self.assertTrue(finding["change"])
        return {finding["code"]: finding for finding in document["findings"]}

    # --- Planted faults

    def test_the_wrong_channel_order(self):
        found = self.examine("--preprocessing", "torch,channels=bgr", "--epochs", 0)
        self.assertEqual(list(found), ["channel_order"])
        self.assertIn("channels=rgb", found["channel_order"]["change"])

    def test_pixels_scaled_twice(self):
        found = self.examine("--preprocessing", f"torch,scale={1 / 255 / 255:.9f}", "--epochs", 0)
        self.assertIn("pixel_scale", found)
        self.assertIn("scale=0.003922", found["pixel_scale"]["change"])

    def test_pixels_not_scaled(self):
        self.assertIn("pixel_scale", self.examine("--preprocessing", "torch,scale=1", "--epochs", 0))

    def test_another_normalization(self):
        self.assertIn("normalization", self.examine("--preprocessing", "rescale", "--epochs", 0))

    def test_a_frozen_head(self):
        fresh, frozen = self.out / "fresh.pt", self.out / "frozen.pt"
        run("finetune", self.model, *self.folders.arguments(), "--epochs", 1, "--steps-per-epoch", 1, "--lr", 1e-12, "--out", fresh)
        with zipfile.ZipFile(fresh) as parts:
            extra = {name.split("/extra/")[1]: "" for name in parts.namelist() if "/extra/" in name}
        module = torch.jit.load(fresh, _extra_files=extra)
        description = json.loads(extra["graft.json"])
        description["frozen"] = [name for name, _ in module.named_parameters()]
        extra["graft.json"] = json.dumps(description)
        torch.jit.save(module, frozen, _extra_files=extra)
        self.assertEqual(list(self.examine("--head", "keep", "--epochs", 0, model=frozen)), ["nothing_trainable", "frozen_head"])

    def test_batch_norm_that_trains_in_a_frozen_trunk(self):
        found = self.examine("--bn", "train", "--epochs", 0)
        self.assertIn("batch_norm_in_frozen_trunk", found)
        self.assertIn("53 of 53", found["batch_norm_in_frozen_trunk"]["seen"])

    def test_a_learning_rate_100_times_too_large(self):
        for flags in (["--optimizer", "adam", "--lr", 0.1], ["--optimizer", "sgd", "--lr", 1], ["--lr", 0.1, "--head", "mlp:256"]):
            with self.subTest(flags=flags):
                self.assertIn("learning_rate_too_large", self.examine(*flags))

    def test_a_learning_rate_100_times_too_large_for_the_whole_network(self):
        found = self.examine("--freeze", "none", "--bn", "inference", "--lr", 3e-3, "--epochs", 0)
        self.assertEqual(list(found), ["backbone_learning_rate"])

    def test_a_learning_rate_100_times_too_small(self):
        self.assertEqual(list(self.examine("--lr", 1e-5)), ["learning_rate_too_small"])

    def test_leaked_validation_images(self):
        ants = self.folders.files("val", "ants")
        for file in ants[:6]:
            shutil.copy(file, self.folders.root / "train" / "ants" / ("copy_of_" + file.name))
        for file in ants[6:12]:
            picture = Image.open(file).convert("RGB")
            picture.resize((picture.width * 2 // 3, picture.height * 2 // 3)).save(
                self.folders.root / "train" / "ants" / ("smaller_" + file.name), quality=70)
        found = self.examine("--epochs", 0)
        self.assertEqual(list(found), ["leaked_images"])
        self.assertEqual(sorted(pathlib.Path(name).name for name in found["leaked_images"]["pictures"]), [f.name for f in ants[:12]])

    def test_a_duplicated_class(self):
        for split in ("train", "val"):
            folder = self.folders.root / split / "emmets"
            folder.mkdir()
            for file in self.folders.files(split, "ants"):
                shutil.copy(file, folder)
        found = self.examine("--epochs", 0)
        self.assertEqual(list(found), ["duplicate_class"])

    def test_swapped_labels_of_single_pictures(self):
        for seed in range(4):
            with self.subTest(seed=seed), tempfile.TemporaryDirectory() as folder:
                self.folders = Folders(pathlib.Path(folder))
                moved = self.folders.swap("train", 0.07, seed)
                found = self.examine("--epochs", 0)
                self.assertEqual(list(found), ["wrong_labels"])
                named = [pathlib.Path(name).name.removeprefix("moved_") for name in found["wrong_labels"]["pictures"]]
                right = sum(name in moved for name in named)
                print(f"  seed {seed}: {len(moved)} moved, {len(named)} named, {right} of them rightly")
                self.assertGreaterEqual(right, 0.8 * len(named))
                self.assertGreaterEqual(right, 0.4 * len(moved))

    def test_swapped_labels_of_two_classes(self):
        val = self.folders.root / "val"
        (val / "ants").rename(val / "other")
        (val / "bees").rename(val / "ants")
        (val / "other").rename(val / "bees")
        self.assertEqual(list(self.examine("--epochs", 0)), ["swapped_classes"])

    def test_unreadable_files(self):
        bees = self.folders.root / "train" / "bees"
        whole = self.folders.files("train", "bees")[0].read_bytes()
        (bees / "cut.jpg").write_bytes(whole[: len(whole) // 2])
        (bees / "notes.txt").write_text("not a picture")
        found = self.examine("--epochs", 0)
        self.assertEqual(list(found), ["unreadable_images"])
        self.assertEqual(sorted(pathlib.Path(name).name for name in found["unreadable_images"]["pictures"]), ["cut.jpg", "notes.txt"])

    def test_imbalance(self):
        for file in self.folders.files("train", "bees")[12:]:
            file.unlink()
        self.assertEqual(list(self.examine("--epochs", 0)), ["class_imbalance"])

    # --- Healthy runs

    def test_healthy_runs(self):
        runs = [
            ["--seed", 1],
            ["--seed", 2, "--head", "mlp:256", "--lr", 3e-4],
            ["--seed", 3, "--head", "cosine", "--optimizer", "adamw", "--lr", 3e-3],
            ["--seed", 4, "--optimizer", "sgd", "--lr", 0.05, "--batch", 16],
            ["--seed", 5, "--head", "gem+linear", "--optimizer", "rmsprop", "--lr", 1e-4, "--epochs", 5],
            ["--seed", 6, "--optimizer", "rmsprop", "--numerics", "keras"],
            ["--seed", 7, "--freeze", "until:layer4", "--bn", "inference", "--lr", 3e-5, "--epochs", 1],
            ["--seed", 8, "--freeze", "none", "--bn", "inference", "--lr", 1e-5, "--epochs", 1, "--steps-per-epoch", 4],
        ]
        for flags in runs:
            with self.subTest(flags=flags):
                self.assertEqual(self.examine(*flags), {})


if __name__ == "__main__":
    unittest.main()
