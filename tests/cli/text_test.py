#!/usr/bin/env python3
"""The program with a network that takes texts: a small encoder with random weights. Needs GRAFT_PROGRAM and GRAFT_EXAMPLES."""
import csv
import json
import pathlib
import random
import shutil
import subprocess
import sys
import tempfile
import unittest

import numpy as np

from program import EXAMPLES, MODEL, PICTURES, ROOT, run

ENCODER = ROOT / "tests" / "golden" / "text" / "tiny.pt"
WORDS = {"sea": "ship sea fish island ocean wind river water".split(), "town": "town street house city door school car money".split()}


def write_table(path, count, seed):
    r = random.Random(seed)
    with open(path, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["label", "text", "more"])
        for i in range(count):
            label = ("sea", "town")[i % 2]
            writer.writerow([label, ", ".join(r.choice(WORDS[label]) for _ in range(r.randint(2, 9))) + r.choice(["", "!", '\n"quoted"']), i])


class Texts(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.out = pathlib.Path(cls.folder.name)
        for name, count in (("train", 240), ("val", 40)):
            write_table(cls.out / f"{name}.csv", count, seed=count)
        for label, words in WORDS.items():
            for part in ("train", "val"):
                (cls.out / part / label).mkdir(parents=True)
                for i in range(12):
                    (cls.out / part / label / f"{i}.txt").write_text(" ".join(random.Random(i + 100 * (part == "val")).choices(words, k=5)) + "\n")
        cls.tuned = cls.out / "topics.pt"
        result = run("finetune", ENCODER, "--domain", "text", "--train", cls.out / "train.csv", "--val", cls.out / "val.csv", "--out", cls.tuned,
                     "--epochs", 20, "--lr", 0.05, "--batch", 16, "--json", "--feature-cache", cls.out / "features", "--report", cls.out / "run.html")
        assert result.returncode == 0, result.stderr
        cls.history = json.loads(result.stdout)

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    def refused(self, code, status, message, *arguments):
        result = run(*arguments)
        self.assertEqual(result.returncode, status, result.stderr)
        last = result.stderr.strip().split("\n")[-1]
        self.assertTrue(last.startswith(f"graft: {code}: "), last)
        self.assertIn(message, last)

    def test_finetune_learns_and_keeps_features(self):
        self.assertGreater(self.history["epochs"][-1]["val_accuracy"], 0.7)  # of 8 random features; chance is 0.5
        self.assertTrue(self.history["frozen_unchanged"])
        self.assertGreater(sum(file.stat().st_size for file in (self.out / "features").iterdir()), 280 * 8 * 4)
        self.assertIn("val.csv:", (self.out / "run.html").read_text())

    def test_a_file_is_of_texts_without_being_told(self):
        result = run("finetune", ENCODER, "--train", self.out / "train.csv", "--val", self.out / "val.csv", "--out", self.out / "x.pt", "--epochs", 1)
        self.assertEqual(result.returncode, 0, result.stderr)

    def test_folders(self):
        result = run("finetune", ENCODER, "--domain", "text", "--train", self.out / "train", "--val", self.out / "val", "--out", self.out / "folders.pt",
                     "--epochs", 20, "--lr", 0.05, "--freeze", "stages:2", "--json")
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertGreater(json.loads(result.stdout)["epochs"][-1]["accuracy"], 0.8)
        result = run("evaluate", self.out / "folders.pt", "--data", self.out / "val", "--json")
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertEqual(len(json.loads(result.stdout)["per_class"]), 2)

    def test_a_folder_that_is_no_class_is_refused(self):
        other = self.out / "val" / "sky"
        other.mkdir()
        self.addCleanup(shutil.rmtree, other)
        evaluate = ["evaluate", self.tuned, "--data", self.out / "val"]
        self.assertEqual(run(*evaluate).returncode, 0)  # empty
        (other / "0.txt").write_text("cloud")
        result = run(*evaluate)
        self.assertEqual((result.returncode, result.stdout), (1, ""))
        self.assertRegex(result.stderr, r'\Agraft: mismatch: .*val: expected folders for the 2 known classes only, found "sky" as well\n\Z')

    def test_evaluate(self):
        predictions = self.out / "predictions.csv"
        result = run("evaluate", self.tuned, "--data", self.out / "val.csv", "--json", "--top-losses", 3, "--predictions", predictions)
        self.assertEqual(result.returncode, 0, result.stderr)
        found = json.loads(result.stdout)
        self.assertAlmostEqual(found["accuracy"], max(epoch["val_accuracy"] for epoch in self.history["epochs"]), places=6)
        self.assertRegex(found["top_losses"][0]["file"], r"val\.csv:\d+$")
        with open(predictions, newline="") as file:
            rows = list(csv.DictReader(file))
        self.assertEqual(len(rows), 40)
        self.assertEqual(sum(row["true"] == row["predicted"] for row in rows) / 40, found["accuracy"])

    def test_classify_lines_tables_and_folders(self):
        lines = self.out / "lines.txt"
        lines.write_text("ship, sea, fish, island, ocean, wind, river\n\ntown, street, house, city, door, school, car")
        result = run("classify", self.tuned, lines, self.out / "val.csv", self.out / "val", "--json", "--top-k", 2)
        self.assertEqual(result.returncode, 0, result.stderr)
        found = json.loads(result.stdout)["predictions"]
        self.assertEqual(len(found), 3 + 40 + 24)
        self.assertEqual([found[i]["top"][0]["id"] for i in (0, 2)], ["sea", "town"])
        self.assertEqual([pathlib.Path(found[i]["file"]).name for i in (0, 2, 3, 43)], ["lines.txt:1", "lines.txt:3", "val.csv:2", "0.txt"])
        self.assertAlmostEqual(sum(guess["probability"] for guess in found[0]["top"]), 1, places=5)
        self.assertIn("67 texts", result.stderr)

    def test_embeddings_are_pythons(self):
        import torch
        sys.path.insert(0, str(ROOT / "models"))
        import artefact
        result = run("embed", ENCODER, self.out / "val.csv", "--out", self.out / "features.npy", "--batch", 7)
        self.assertEqual(result.returncode, 0, result.stderr)
        files = {"graft.json": "", "graft_vocabulary.txt": ""}
        net = torch.jit.load(str(ENCODER), _extra_files=files)
        with open(self.out / "val.csv", newline="") as file:
            texts = [row["text"] for row in csv.DictReader(file)]
        tokens = artefact.tokenizer_of(json.loads(files["graft.json"])["tokenizer"], files["graft_vocabulary.txt"].decode().split("\n")[:-1])(texts)
        with torch.inference_mode():
            np.testing.assert_allclose(np.load(self.out / "features.npy"), net(tokens).numpy(), rtol=0, atol=1e-4)
        self.assertEqual(run("embed", self.tuned, self.out / "val.csv", "--out", self.out / "again.npy").returncode, 0)
        np.testing.assert_allclose(np.load(self.out / "again.npy"), np.load(self.out / "features.npy"), rtol=0, atol=1e-5)

    def test_the_saved_file_runs_in_python(self):
        import torch
        files = {"graft.json": "", "graft_vocabulary.txt": ""}
        net = torch.jit.load(str(self.tuned), _extra_files=files)
        self.assertEqual([label["id"] for label in json.loads(files["graft.json"])["labels"]], ["sea", "town"])
        self.assertEqual(net(torch.tensor([[2, 50, 3, 0], [2, 60, 61, 3]])).shape, (2, 2))

    def test_inspect_and_export(self):
        result = run("inspect", self.tuned)
        self.assertIn("texts: WordPiece with 2512 pieces, at most 64 tokens, small letters without accents", result.stdout)
        description = json.loads(run("inspect", self.tuned, "--json").stdout)
        self.assertEqual((description["preprocessing"], description["tokenizer"]["max_length"]), (None, 64))
        result = run("export", self.tuned, "--triton", self.out / "repository", "--json")
        self.assertEqual(json.loads(result.stdout)["input_shape"], [-1])

    def test_other_commands_that_learn_and_measure(self):
        data = ["--train", self.out / "train.csv", "--val", self.out / "val.csv"]
        self.assertGreater(json.loads(run("lr-find", ENCODER, *data, "--steps", 20, "--json").stdout)["suggestion"], 0)
        result = run("sweep", ENCODER, *data, "--freeze-points", "all,stages:2", "--epochs", 1, "--json")
        self.assertEqual(len(json.loads(result.stdout)["runs"]), 2, result.stderr)
        result = run("calibrate", self.tuned, "--data", self.out / "val.csv", "--out", self.out / "calibrated.pt")
        self.assertEqual(result.returncode, 0, result.stderr)
        result = run("compare", self.tuned, self.out / "calibrated.pt", "--data", self.out / "val.csv", "--json")
        self.assertEqual(result.returncode, 0, result.stderr)

    def test_bad_files_are_refused_by_line(self):
        def table(content):
            path = self.out / "bad.csv"
            path.write_bytes(content)
            return path

        for content, code, message in (
                (b"", "format", "bad.csv: line 1: expected the names of the columns, found an empty file"),
                (b"text,label\n", "mismatch", "bad.csv: expected texts behind the names of the columns"),
                (b"text,label\na,x\nb\n", "format", "bad.csv: line 3: expected 2 fields as in line 1, found 1"),
                (b'text,label\na,x\n"b,y\n', "format", "bad.csv: line 3: this is no CSV"),
                (b"text,label\na,x\n\xe9,y\n", "format", "bad.csv: line 3: expected UTF-8, found another byte (233) as its byte 1"),
                (b"text,label\na,x\nb\0,y\n", "format", "bad.csv: line 3: expected text, found a NUL byte"),
                (b"text,label\na,x\n" + b"b" * (10 << 20) + b",y\n", "limit", "bad.csv: line 3: expected at most 1048576 bytes in a text"),
                (b"text,label\na,x\nb,x\n", "mismatch", "expected at least two classes")):
            with self.subTest(content=content[:30]):
                self.refused(code, 1, message, "finetune", ENCODER, "--train", table(content), "--val", self.out / "val.csv", "--out", self.out / "x.pt")
        self.refused("mismatch", 1, "bad.csv: line 2: expected one of the classes \"sea\", \"town\", found \"air\"",
                     "evaluate", self.tuned, "--data", table(b"text,label\na,air\n"))
        lines = self.out / "bad.txt"
        for content, code, message in ((b"", "mismatch", "bad.txt: line 1: expected a text on each line, found an empty file"),
                                       (b"a\nb\0c\n", "format", "bad.txt: line 2: expected text, found a NUL byte"),
                                       (b"a\n\n\xff\n", "format", "bad.txt: line 3: expected UTF-8"),
                                       (b"a\n" + b"b" * (10 << 20), "limit", "bad.txt: line 2: expected at most 1048576 bytes")):
            lines.write_bytes(content)
            for command in (["classify", self.tuned, lines], ["embed", ENCODER, lines, "--out", self.out / "x.npy"]):
                self.refused(code, 1, message, *command)

    def test_domains_are_not_mixed_up(self):
        self.refused("config", 2, "--domain text: the model takes pictures", "classify", MODEL, PICTURES, "--domain", "text")
        self.refused("config", 2, "--domain image: the model takes texts", "classify", self.tuned, PICTURES, "--domain", "image")
        self.refused("config", 2, "has no head", "classify", ENCODER, self.out / "val.csv")
        self.refused("mismatch", 1, "expected a model that takes texts, found one that takes pictures", "finetune", MODEL, "--train", self.out / "train.csv",
                     "--val", self.out / "val.csv", "--out", self.out / "x.pt")
        self.refused("mismatch", 1, "this model takes texts: give --domain text", "finetune", ENCODER, "--train", self.out / "train", "--val", self.out / "val",
                     "--out", self.out / "x.pt")
        for option in (["--augment", "hflip"], ["--on-bad-image", "skip"], ["--reduced-decoding"]):
            self.refused("config", 2, "are for pictures, the data are texts", "finetune", ENCODER, "--train", self.out / "train.csv",
                         "--val", self.out / "val.csv", "--out", self.out / "x.pt", *option)
        self.refused("config", 2, "the doctor knows networks that take pictures", "doctor", ENCODER, "--train", self.out / "train.csv", "--val", self.out / "val.csv")
        self.refused("config", 2, "the doctor knows networks that take pictures", "finetune", ENCODER, "--train", self.out / "train.csv",
                     "--val", self.out / "val.csv", "--out", self.out / "x.pt", "--doctor")
        for command in (["explain", self.tuned, PICTURES, "--out", self.out / "heat"], ["neighbors", self.tuned, PICTURES, "--among", PICTURES],
                        ["project", self.tuned, PICTURES, "--out", self.out / "map.svg"]):
            self.refused("mismatch", 1, "this network takes texts", *command)

    def test_the_example(self):
        result = subprocess.run([EXAMPLES / "text_classification", ENCODER, self.out / "train.csv", self.out / "val.csv", self.out / "example.pt", "10"],
                                capture_output=True, text=True)
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertIn("accuracy", result.stdout)
        self.assertIn(" ~ ", result.stdout)
        self.assertEqual(run("classify", self.out / "example.pt", self.out / "val.csv").returncode, 0)


if __name__ == "__main__":
    unittest.main()
