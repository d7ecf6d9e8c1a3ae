#!/usr/bin/env python3
"""evaluate, calibrate and compare from outside."""
import csv
import json
import pathlib
import subprocess
import sys
import tempfile
import unittest

import numpy as np
import torch

from program import GRAFT, MODEL, ROOT, make_folder, run


class Evaluate(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.scratch = tempfile.TemporaryDirectory()
        cls.root = pathlib.Path(cls.scratch.name)
        make_folder(cls.root)
        val = cls.root / "val"
        (val / "down" / "0.png").rename(val / "across" / "wrong.png")  # so that not all can be right
        cls.data = ["--data", val]
        cls.tuned = cls.root / "tuned.pt"
        result = run("finetune", MODEL, "--train", cls.root / "train", "--val", val, "--out", cls.tuned, "--epochs", 4, "--lr", 0.01, "--batch", 4)
        assert result.returncode == 0, result.stderr

    @classmethod
    def tearDownClass(cls):
        cls.scratch.cleanup()

    def document(self, *arguments):
        result = run(*arguments, "--json")
        self.assertEqual(result.returncode, 0, result.stderr)
        return json.loads(result.stdout)

    def refused(self, code, *arguments):
        result = run(*arguments)
        self.assertEqual((result.returncode, result.stdout), (code, ""), result.stderr)
        return result.stderr

    def test_all_figures_are_in_the_document(self):
        e = self.document("evaluate", self.tuned, *self.data, "--top-losses", 3)
        self.assertAlmostEqual(e["accuracy"], 11 / 12)
        self.assertEqual(e["confusion"], [[6, 1], [0, 5]])
        self.assertAlmostEqual(e["macro"]["recall"], (6 / 7 + 1) / 2)
        self.assertAlmostEqual(e["weighted"]["recall"], 11 / 12)
        self.assertAlmostEqual(e["nll"], e["loss"], places=5)
        self.assertEqual(sum(b["count"] for b in e["reliability"]), 12)
        self.assertAlmostEqual(e["ece"], sum(b["count"] * abs(b["accuracy"] - b["confidence"]) for b in e["reliability"]) / 12)
        self.assertAlmostEqual(e["roc_auc"], np.mean([c["roc_auc"] for c in e["per_class"]]))
        low, high = e["accuracy_interval"]
        self.assertTrue(low < e["accuracy"] < high, (low, high))
        self.assertLess(*e["macro_f1_interval"])
        worst = e["top_losses"][0]
        self.assertEqual(len(e["top_losses"]), 3)
        self.assertEqual((pathlib.Path(worst["file"]).name, worst["true"], worst["predicted"]), ("wrong.png", "across", "down"))
        self.assertAlmostEqual(worst["probability"], 1 - np.exp(-worst["loss"]), places=4)  # of two classes
        self.assertIsNone(e["rejection"])
        self.assertIsNone(self.document("evaluate", self.tuned, *self.data, "--bootstrap", 0)["accuracy_interval"])

        text = run("evaluate", self.tuned, *self.data, "--top-losses", 1).stdout
        for part in ("95 % intervals: accuracy", "ROC-AUC", "macro average", "mean confidence", str(self.root / "val" / "across" / "wrong.png")):
            self.assertIn(part, text)
        self.assertLessEqual(max(len(line) for line in text.splitlines() if "wrong.png" not in line), 100)

    def test_predictions_are_a_table(self):
        table = self.root / "predictions.csv"
        e = self.document("evaluate", self.tuned, *self.data, "--predictions", table)
        with open(table, newline="") as file:
            rows = list(csv.DictReader(file))
        self.assertEqual(list(rows[0]), ["file", "true", "predicted", "probability", "p_across", "p_down"])
        self.assertEqual(len(rows), 12)
        self.assertAlmostEqual(sum(r["true"] == r["predicted"] for r in rows) / 12, e["accuracy"])
        found = {p["file"]: {g["id"]: g["probability"] for g in p["top"]}
                 for p in self.document("classify", self.tuned, self.root / "val")["predictions"]}
        for row in rows:
            self.assertEqual(row["true"], pathlib.Path(row["file"]).parent.name)
            self.assertEqual(row["probability"], max(row["p_across"], row["p_down"]))
            for name in ("across", "down"):
                self.assertAlmostEqual(float(row[f"p_{name}"]), found[row["file"]][name], delta=1e-5)
        self.refused(1, "evaluate", self.tuned, *self.data, "--predictions", "/proc/nowhere/p.csv")

    def test_time_augmentation(self):
        plain = self.document("evaluate", self.tuned, *self.data)
        losses = {tta: self.document("evaluate", self.tuned, *self.data, "--tta", tta)["loss"] for tta in ("hflip", "3", "hflip,3")}
        self.assertEqual(len({plain["loss"], *losses.values()}), 4)
        again = self.document("evaluate", self.tuned, *self.data, "--tta", "3")["loss"]
        self.assertEqual(again, losses["3"])
        other = self.document("evaluate", self.tuned, *self.data, "--tta", "3", "--augment", "zoom=0.2", "--seed", 4)["loss"]
        self.assertNotEqual(other, again)
        for bad in ("vflip", "0", "-1", "hflip,hflip", "2,3", "3.5"):
            self.assertIn("--tta", self.refused(2, "evaluate", self.tuned, *self.data, f"--tta={bad}"))
        self.refused(2, "evaluate", self.tuned, *self.data, "--tta", "3", "--augment", "zoom=2")

    def test_calibrate_writes_a_file_that_answers_otherwise(self):
        out = self.root / "calibrated.pt"
        report = self.document("calibrate", self.tuned, *self.data, "--out", out, "--target-accuracy", 0.95)
        before, after = (self.document("evaluate", model, *self.data) for model in (self.tuned, out))
        self.assertTrue(report["temperature_found"])
        for name in ("nll", "ece"):
            self.assertAlmostEqual(report[f"{name}_before"], before[name], places=5)
            self.assertAlmostEqual(report[f"{name}_after"], after[name], places=5)
        self.assertLess(after["nll"], before["nll"])
        self.assertEqual(after["accuracy"], before["accuracy"])
        self.assertEqual(report["accuracy_of_answers"], 1)
        self.assertLess(report["coverage"], 1)
        self.assertEqual(after["rejection"], {"reject_below": report["reject_below"], "coverage": report["coverage"], "accuracy": 1})
        [task] = self.document("inspect", out)["tasks"]
        self.assertEqual((task["temperature"], task["reject_below"]), (report["temperature"], report["reject_below"]))

        guesses = self.document("classify", out, self.root / "val")["predictions"]
        for guess in guesses:
            self.assertEqual(guess["rejected"], guess["top"][0]["probability"] < report["reject_below"])
        self.assertAlmostEqual(np.mean([not guess["rejected"] for guess in guesses]), report["coverage"])
        self.assertIn("no answer", run("classify", out, self.root / "val").stdout)
        self.assertNotIn("no answer", run("classify", self.tuned, self.root / "val").stdout)

        text = run("calibrate", self.tuned, *self.data, "--out", out, "--reject-below", 0.6).stdout
        self.assertRegex(text, r"temperature \d.*\ncalibration error .* before, .* after.*\nanswers from 0\.6000 on: ")

    def test_the_network_in_a_calibrated_file_is_the_same(self):
        out = self.root / "same.pt"
        self.document("calibrate", self.tuned, *self.data, "--out", out)
        x = torch.rand(2, 3, 64, 64)
        with torch.inference_mode():
            self.assertTrue(torch.equal(torch.jit.load(str(out))(x), torch.jit.load(str(self.tuned))(x)))
        check = subprocess.run([sys.executable, str(ROOT / "models" / "check_in_python.py"), str(out), str(self.root / "val"), "--graft", GRAFT],
                               capture_output=True, text=True)
        self.assertEqual(check.returncode, 0, check.stdout + check.stderr)
        self.assertIn("12 of 12", check.stdout)

    def test_calibrate_refuses_what_cannot_be(self):
        out = self.root / "never.pt"
        command = ["calibrate", self.tuned, *self.data, "--out", out]
        for bad in (["--reject-below", 1.5], ["--target-accuracy", "nan"], ["--reject-below", 0.5, "--target-coverage", 0.5],
                    ["--target-accuracy", 0.5, "--target-coverage", 0.5], ["--reject-below", 0.5, "--target-accuracy", 0.5]):
            self.refused(2, *command, *bad)
        self.refused(2, "calibrate", self.tuned, *self.data)  # where to?
        self.assertFalse(out.exists())

    def test_compare(self):
        other = self.root / "other.pt"
        result = run("finetune", MODEL, "--train", self.root / "train", "--val", self.root / "val", "--out", other, "--epochs", 1, "--lr", 1e-6)
        self.assertEqual(result.returncode, 0, result.stderr)
        c = self.document("compare", other, self.tuned, *self.data)
        first, second = (self.document("evaluate", model, *self.data) for model in (other, self.tuned))
        self.assertEqual((c["first"]["accuracy"], c["second"]["accuracy"]), (first["accuracy"], second["accuracy"]))
        self.assertEqual(c["examples"], sum(c[n] for n in ("both_right", "only_first_right", "only_second_right", "both_wrong")))
        self.assertAlmostEqual(c["difference"], second["accuracy"] - first["accuracy"])
        self.assertTrue(c["difference_interval"][0] <= c["difference"] <= c["difference_interval"][1])
        self.assertTrue(0 < c["mcnemar"]["exact_p"] <= 1)
        same = self.document("compare", self.tuned, self.tuned, *self.data, "--tta", "hflip")
        self.assertEqual((same["difference"], same["mcnemar"]["exact_p"]), (0, 1))
        text = run("compare", other, self.tuned, *self.data).stdout
        self.assertRegex(text, r"only the second \d+[^\n]*\ndifference of accuracy .* points.*\nMcNemar's test: p = ")
        self.assertIn("different labels", self.refused(1, "compare", self.tuned, MODEL, *self.data))


if __name__ == "__main__":
    unittest.main()
