#!/usr/bin/env python3
"""Every command's --json has the keys that docs/json.md says, and one name for one thing. Needs GRAFT_PROGRAM and GRAFT_EXAMPLES (folders)."""
import json
import pathlib
import re
import shutil
import tempfile
import unittest

from program import MODEL, PICTURES, ROOT, make_folder, run


def documented():
    """By command: its keys, as `predictions[].top[].id`."""
    keys = {}
    for line in (ROOT / "docs" / "json.md").read_text().splitlines():
        if line.startswith("| `graft "):
            command, cell = line.strip("| ").split(" | ")
            keys[command.strip("`").removeprefix("graft ")] = set(re.findall("`([^`]+)`", cell))
    return keys


def keys_of(value, prefix=""):
    if isinstance(value, list):
        return set().union(*(keys_of(one, prefix[:-1] + "[].") for one in value))
    if not isinstance(value, dict):
        return set()
    return set().union(*({prefix + key} | keys_of(one, f"{prefix}{key}.") for key, one in value.items()))


class Json(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.scratch = tempfile.TemporaryDirectory()
        cls.root = pathlib.Path(cls.scratch.name)
        make_folder(cls.root)
        shutil.copytree(PICTURES, cls.root / "pictures")
        (cls.root / "pictures" / "broken.png").write_text("no picture")
        cls.documented = documented()
        cls.tuned = cls.root / "tuned.pt"

    @classmethod
    def tearDownClass(cls):
        cls.scratch.cleanup()

    def check(self, name, *options, command=None):
        result = run(*(command or name).split(), *options, "--json", "--quiet")
        self.assertEqual((result.returncode, result.stderr), (0, ""), name)
        document = json.loads(result.stdout)
        found, expected = keys_of(document), self.documented.pop(name)
        # Lists that are empty here have no keys below.
        self.assertLessEqual(found, expected, name)
        self.assertEqual({key for key in expected if "." not in key}, {key for key in found if "." not in key}, name)
        return document

    def test_every_command_has_the_keys_that_are_documented(self):
        root, skip = self.root, ["--on-bad-image", "skip"]
        training = [MODEL, "--train", root / "train", "--val", root / "val", "--batch", 4]
        labelled = ["--data", root / "val", "--bootstrap", 10]
        self.check("finetune --doctor", *training, "--out", self.tuned, "--epochs", 1, "--lr", 0.01, "--report", root / "tuned.html", command="finetune --doctor")
        self.check("finetune", *training, "--out", root / "other.pt", "--epochs", 1)
        self.check("doctor", *training, "--epochs", 0)
        self.check("lr-find", *training, "--steps", 20)
        self.check("sweep", *training, "--epochs", 1, "--freeze-points", "all")
        bad = self.check("classify", MODEL, root / "pictures", *skip)["bad_images"]
        self.assertEqual([set(one) for one in bad], [{"file", "error"}])
        self.assertEqual(self.check("classify --out", MODEL, root / "pictures", *skip, "--out", root / "answers", command="classify")["bad_images_now"], 1)
        self.check("embed", MODEL, root / "pictures", *skip, "--out", root / "rows.npy")
        self.check("embed --out FOLDER", MODEL, root / "pictures", *skip, "--out", root / "rows", command="embed")
        self.check("explain", MODEL, root / "pictures", *skip, "--out", root / "heat")
        self.check("neighbors", MODEL, root / "pictures" / "star.png", "--among", root / "pictures", *skip)
        self.check("project", MODEL, root / "pictures", *skip, "--out", root / "map.csv")
        self.check("augment", root / "pictures", *skip, "--out", root / "sheet.png", "--augment", "hflip", "--pictures", 9)
        self.check("evaluate", self.tuned, *labelled, "--top-losses", 2)
        self.check("calibrate", self.tuned, "--data", root / "val", "--out", root / "calibrated.pt")
        self.check("compare", self.tuned, root / "other.pt", *labelled)
        self.check("quantize", self.tuned, "--calibration", root / "val", "--out", root / "int8.pt")
        self.check("report", root / "tuned.json", "--out", root / "again.html")
        self.check("export", self.tuned, "--triton", root / "repository")
        self.check("inspect", self.tuned)
        self.check("inspect --plan", self.tuned)
        self.check("completion", "bash")
        self.check("manual")
        self.assertEqual(self.documented, {})  # all of them were run

    def test_one_thing_has_one_name(self):
        last = {re.sub(r"\[\]$", "", key.split(".")[-1]) for keys in self.documented.values() for key in keys}
        for other, name in {"message": "error", "overlay": "out", "unreadable_now": "bad_images_now", "output": "out", "path": "file"}.items():
            self.assertNotIn(other, last, f"call it {name}")


if __name__ == "__main__":
    unittest.main()
