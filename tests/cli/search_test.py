#!/usr/bin/env python3
"""graft lr-find and graft sweep. Needs GRAFT_PROGRAM and GRAFT_EXAMPLES."""
import json
import pathlib
import tempfile
import unittest

from program import MODEL, make_folder, run


class Search(unittest.TestCase):
    def setUp(self):
        self.scratch = tempfile.TemporaryDirectory()
        self.addCleanup(self.scratch.cleanup)
        self.root = pathlib.Path(self.scratch.name)
        make_folder(self.root)
        self.data = [MODEL, "--train", self.root / "train", "--val", self.root / "val", "--batch", 4]

    def text(self, command, *options, code=0):
        result = run(command, *self.data, *options)
        self.assertEqual(result.returncode, code, result.stderr)
        return result.stdout if code == 0 else result.stderr

    def document(self, command, *options):
        return json.loads(self.text(command, *options, "--json"))

    def test_the_suggested_rate_learns(self):
        curve = self.document("lr-find", "--first", 1e-5, "--last", 10, "--steps", 60)
        self.assertEqual(len(curve["rates"]), len(curve["losses"]))
        self.assertAlmostEqual(curve["rates"][0], 1e-5)
        self.assertIn(curve["suggestion"], curve["rates"])
        text = self.text("lr-find", "--first", 1e-5, "--last", 10, "--steps", 60)
        self.assertIn(f"suggestion: --lr {curve['suggestion']:.2g}\n", text)
        self.assertGreater(max(line.count("=") for line in text.splitlines()), 40)  # the curve, drawn

        def loss(rate):
            return self.document("finetune", "--out", self.root / "out.pt", "--lr", rate, "--epochs", 3)["epochs"][-1]["loss"]

        self.assertLess(loss(curve["suggestion"]), 0.8 * loss(curve["suggestion"] / 1000))

    def test_a_sweep_tells_which_layers_to_fine_tune(self):
        options = ["--freeze-points", "all,none", "--heads", "linear/mlp:8", "--learning-rates", "0.001,0.01", "--epochs", 2, "--out", self.root / "sweep"]
        found = self.document("sweep", *options)
        self.assertEqual([(r["freeze"], r["head"], r["learning_rate"]) for r in found["runs"]],
                         [(f, h, r) for f in ("all", "none") for h in ("linear", "mlp:8") for r in (0.001, 0.01)])
        accuracy = [run["history"]["epochs"][run["history"]["best"]]["val_accuracy"] for run in found["runs"]]
        self.assertEqual(accuracy[found["best"]], max(accuracy))

        table = self.text("sweep", *options, "--report", self.root / "sweep.html")  # from its checkpoints
        self.assertEqual(sum(line.endswith("  best") for line in table.splitlines()), 1)
        rows = [line.split() for line in table.splitlines()[1:]]
        for row, one in zip(rows, found["runs"]):
            best = one["history"]["epochs"][one["history"]["best"]]
            self.assertEqual(row[:3], [one["freeze"], one["head"], f"{one['learning_rate']:g}"])
            self.assertEqual(row[4:6], [f"{best['val_loss']:.4f}", f"{100 * best['val_accuracy']:.2f}"])
        self.assertIn("Sweep of 8 runs", (self.root / "sweep.html").read_text())

    def test_a_run_that_diverges_does_not_end_the_sweep(self):
        options = ["--freeze-points", "none", "--learning-rates", "1e30,0.001", "--optimizer", "sgd", "--epochs", 1]
        found = self.document("sweep", *options, "--report", self.root / "sweep.html")
        self.assertEqual(found["best"], 1)
        self.assertIn("the loss is", found["runs"][0]["error"])
        self.assertEqual(found["runs"][0]["history"]["epochs"], [])
        self.assertIsNone(found["runs"][1]["error"])
        self.assertIn("the loss is", (self.root / "sweep.html").read_text())
        rows = self.text("sweep", *options).splitlines()[1:]
        self.assertIn("diverged: ", rows[0])
        self.assertTrue(rows[1].endswith("  best"))
        self.assertIsNone(self.document("sweep", *options[:3], "1e30", *options[4:])["best"])

    def test_what_cannot_be_written_is_said_before_work_begins(self):
        nowhere = self.root / "nowhere" / "page.html"
        self.assertIn("nowhere/page.html", self.text("lr-find", "--report", nowhere, code=1))
        self.assertIn("nowhere/page.html", self.text("sweep", "--freeze-points", "all", "--report", nowhere, code=1))


if __name__ == "__main__":
    unittest.main()
