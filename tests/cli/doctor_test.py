#!/usr/bin/env python3
"""graft doctor and finetune --doctor on drawn pictures. Needs GRAFT_PROGRAM and GRAFT_EXAMPLES."""
import importlib.util
import json
import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest

from program import MODEL, ROOT, make_folder, run


class Doctor(unittest.TestCase):
    def setUp(self):
        self.scratch = tempfile.TemporaryDirectory()
        self.root = pathlib.Path(self.scratch.name)
        make_folder(self.root, per_class=20)
        self.data = [MODEL, "--train", self.root / "train", "--val", self.root / "val"]

    def tearDown(self):
        self.scratch.cleanup()

    def plant(self):
        """The same picture in both folders, and one that cannot be read."""
        shutil.copy(self.root / "train" / "down" / "3.png", self.root / "val" / "down" / "leaked.png")
        (self.root / "train" / "across" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nbroken")

    def examine(self, *options):
        result = run("doctor", *self.data, "--json", *options)
        self.assertEqual(result.returncode, 0, result.stderr)
        return json.loads(result.stdout)

    def test_healthy_data_and_a_healthy_run_have_no_findings(self):
        for options in ([], ["--head", "mlp:32", "--lr", 3e-3, "--seed", 1], ["--freeze", "stages:1", "--lr", 1e-4, "--epochs", 2],
                        ["--recipe", "fine-tune", "--epochs", 2, "--lr", 1e-3]):
            with self.subTest(options=options):
                self.assertEqual(self.examine(*options)["findings"], [])

    def test_what_is_checked(self):
        checked = self.examine()["checked"]
        self.assertEqual(len(checked), 23)
        self.assertEqual(len(set(checked)), 23)
        without_a_run = self.examine("--epochs", 0)["checked"]
        self.assertEqual(set(checked) - set(without_a_run),
                         {"learning_rate_too_large", "learning_rate_too_small", "weight_drift", "overfitting", "dead_features"})

    def test_findings_as_json(self):
        self.plant()
        findings = self.examine("--epochs", 0)["findings"]
        self.assertEqual([f["code"] for f in findings], ["unreadable_images", "leaked_images"])
        for finding in findings:
            self.assertEqual(set(finding), {"code", "severity", "where", "seen", "change", "pictures"})
            self.assertEqual(finding["severity"], "error")
        self.assertEqual([pathlib.Path(name).name for name in findings[1]["pictures"]], ["leaked.png"])

    def test_findings_as_text(self):
        self.plant()
        result = run("doctor", *self.data, "--epochs", 0)
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertIn("error: leaked_images (val)\n  seen    1 of 41 validation pictures (2.4 %)", result.stdout)
        self.assertIn("2 findings; 18 things were checked", result.stdout)

    def test_no_learning_rate_is_too_large_to_be_told(self):
        self.assertIn("learning_rate_too_large", [f["code"] for f in self.examine("--freeze", "none", "--optimizer", "sgd", "--lr", 1e30)["findings"]])

    def test_the_most_serious_comes_first(self):
        for name in ("across", "down"):
            for i in range(13, 20):
                (self.root / "val" / name / f"{i}.png").unlink()  # few: a note
        self.plant()
        severities = [f["severity"] for f in self.examine("--epochs", 0, "--bn", "train")["findings"]]
        self.assertEqual(severities, ["error", "error", "error", "note"])

    def test_finetune_says_it_beside_its_result_and_in_its_report(self):
        self.plant()
        page = self.root / "run.html"
        result = run("finetune", *self.data, "--out", self.root / "out.pt", "--epochs", 2, "--on-bad-image", "skip", "--doctor",
                     "--report", page, "--json")
        self.assertEqual(result.returncode, 0, result.stderr)
        document = json.loads(result.stdout)
        self.assertEqual(len(document["epochs"]), 2)
        self.assertEqual([f["code"] for f in document["findings"]], ["unreadable_images", "leaked_images"])
        self.assertEqual(len(document["checked"]), 23)
        self.assertIn("error: leaked_images (val)", result.stderr)
        self.assertEqual([f["title"] for f in json.loads(page.with_suffix(".json").read_text())["findings"]],
                         ["unreadable images", "leaked images"])
        self.assertIn("leaked images", page.read_text())
        quiet = run("finetune", *self.data, "--out", self.root / "out.pt", "--epochs", 1, "--on-bad-image", "skip", "--quiet")
        self.assertEqual(quiet.stderr, "")

    def test_finetune_says_it_of_a_run_that_diverges(self):
        result = run("finetune", *self.data, "--out", self.root / "out.pt", "--freeze", "none", "--optimizer", "sgd", "--lr", 1e30, "--doctor")
        self.assertEqual(result.returncode, 1)
        self.assertIn("error: learning_rate_too_large", result.stderr)
        self.assertRegex(result.stderr.splitlines()[-1], "numeric: .*the loss is")

    @unittest.skipUnless(importlib.util.find_spec("sklearn"), "scikit-learn's digits are not installed")
    def test_digits_by_many_hands_are_neither_leaked_nor_repeated(self):
        digits = self.root / "digits"
        subprocess.run([sys.executable, ROOT / "models" / "digits_folder.py", digits], check=True, capture_output=True)
        found = run("doctor", MODEL, "--train", digits / "train", "--val", digits / "val", "--epochs", 0, "--json")
        self.assertEqual(found.returncode, 0, found.stderr)
        codes = {finding["code"] for finding in json.loads(found.stdout)["findings"]}
        self.assertFalse(codes & {"leaked_images", "duplicate_images", "ambiguous_images", "duplicate_class"}, codes)

    def test_errors_stay_errors(self):
        self.assertEqual(run("doctor", MODEL, "--train", self.root / "missing", "--val", self.root / "val").returncode, 1)
        self.assertEqual(run("doctor", *self.data, "--lr", "-1").returncode, 2)


if __name__ == "__main__":
    unittest.main()
