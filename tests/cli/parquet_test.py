#!/usr/bin/env python3
"""graft classify and embed into folders of Parquet files, which pyarrow reads back: the same as JSON lines and .npy files. Needs
GRAFT_PROGRAM and GRAFT_EXAMPLES; GRAFT_PARQUET says whether this build has Apache Arrow, GRAFT_MPIRUN how to start several processes."""
import hashlib
import json
import os
import pathlib
import shlex
import shutil
import subprocess
import tempfile
import unittest

import numpy as np

from program import GRAFT, MODEL, ROOT, draw_noise, run

HAS_PARQUET = os.environ.get("GRAFT_PARQUET") == "ON"
MPIRUN = shlex.split(os.environ.get("GRAFT_MPIRUN", ""))
ENCODER = ROOT / "tests" / "golden" / "text" / "tiny.pt"
UNREADABLE = "007.png"
if HAS_PARQUET:
    import pyarrow
    import pyarrow.parquet


class Scratch(unittest.TestCase):
    def setUp(self):
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.root = pathlib.Path(scratch.name)
        self.pictures = draw_noise(self.root / "pictures", 21)

    def done(self, *arguments):
        result = run(*arguments, "--threads", 1)
        self.assertEqual(result.returncode, 0, result.stderr)
        return result

    def refused(self, status, message, *arguments):
        result = run(*arguments)
        self.assertEqual(result.returncode, status, result.stderr)
        self.assertIn(message, result.stderr)

    def read(self, folder, parts):
        """The whole folder, as anyone reads it; each part has one row group."""
        files = sorted(folder.glob("part-*"))
        self.assertEqual([file.name for file in files], [f"part-{i:07}.parquet" for i in range(parts)])
        for file in files:
            self.assertEqual(pyarrow.parquet.ParquetFile(file).num_row_groups, 1)
        return pyarrow.parquet.read_table(folder)


@unittest.skipUnless(HAS_PARQUET, "this build has no Apache Arrow")
class Classify(Scratch):
    def setUp(self):
        super().setUp()
        (self.pictures / UNREADABLE).write_bytes(b"\x89PNG\r\n\x1a\n")
        self.command = ["classify", MODEL, self.pictures, "--batch", 4, "--shard", 8, "--on-bad-image", "skip"]

    def lines(self, folder):
        return [json.loads(line) for part in sorted(folder.glob("part-*.jsonl")) for line in part.read_text().splitlines()]

    def assert_same(self, table, lines):
        """To the bit: JSON has the shortest number that gives the same float32 again."""
        self.assertEqual(table.to_pylist(), [{"file": line["file"], "top": line.get("top"), "rejected": line.get("rejected"), "error": line.get("error")}
                                             for line in lines])

    def test_the_same_as_lines_of_json(self):
        lines, out = self.root / "lines", self.root / "out"
        self.done(*self.command, "--out", lines)
        self.done(*self.command, "--out", out, "--format", "parquet")
        table = self.read(out, 3)
        self.assert_same(table, self.lines(lines))
        [error] = [row for row in table.to_pylist() if row["error"] is not None]
        self.assertEqual((pathlib.Path(error["file"]).name, error["top"]), (UNREADABLE, None))
        self.assertIn(UNREADABLE, error["error"])
        self.assertEqual([len(row["top"]) for row in table.to_pylist() if row["top"] is not None], [5] * 20)

        guess = {"id": pyarrow.string(), "index": pyarrow.int32(), "label": pyarrow.string(), "probability": pyarrow.float32()}
        top = pyarrow.list_(pyarrow.field("element", pyarrow.struct([pyarrow.field(name, kind, nullable=False) for name, kind in guess.items()]), nullable=False))
        self.assertTrue(table.schema.equals(pyarrow.schema([pyarrow.field("file", pyarrow.string(), nullable=False), ("top", top),
                                                            ("rejected", pyarrow.bool_()), ("error", pyarrow.string())])), table.schema)
        metadata = {key.decode(): value.decode() for key, value in table.schema.metadata.items()}
        self.assertEqual(metadata["graft.model_sha256"], json.loads(self.done("inspect", MODEL, "--json").stdout)["sha256"])
        self.assertEqual(metadata["graft.version"], self.done("--version").stdout.strip())
        self.assertEqual(json.loads(metadata["graft.about"])["top-k"], "5")
        manifest = json.loads((out / "_manifest.json").read_text())
        self.assertEqual((manifest["complete"], manifest["first_part"], manifest["about"]["format"]), (True, "part-0000000.parquet", "parquet"))

    def test_a_missing_part_is_made_again(self):
        out = self.root / "out"
        self.done(*self.command, "--out", out, "--format", "parquet")
        parts = {path: (path.stat().st_ino, hashlib.sha256(path.read_bytes()).hexdigest()) for path in out.glob("part-*")}
        lost = out / "part-0000001.parquet"
        lost.unlink()
        said = json.loads(self.done(*self.command, "--out", out, "--format", "parquet", "--json").stdout)
        self.assertEqual((said["answered_now"], said["examples"]), (8, 21))
        for path, (inode, sha256) in parts.items():
            self.assertEqual(hashlib.sha256(path.read_bytes()).hexdigest(), sha256)
            self.assertEqual(path.stat().st_ino == inode or path == lost, True, path)
        if MPIRUN:
            other = self.root / "of2"
            result = subprocess.run([*MPIRUN, "-np", "2", GRAFT, *map(str, self.command), "--out", other, "--format", "parquet", "--threads", "1"],
                                    capture_output=True, text=True)
            self.assertEqual(result.returncode, 0, result.stderr)
            for path, (_, sha256) in parts.items():
                self.assertEqual(hashlib.sha256((other / path.name).read_bytes()).hexdigest(), sha256)

    def test_a_folder_has_one_format(self):
        for first, second in (("jsonl", "parquet"), ("parquet", "jsonl")):
            out = self.root / first
            self.done(*self.command, "--out", out, "--format", first)
            before = sorted(out.iterdir())
            self.refused(1, f"format: it had {first}, here {second}", *self.command, "--out", out, "--format", second)
            self.assertEqual(sorted(out.iterdir()), before)
        (self.root / "parquet" / "_manifest.json").unlink()
        self.refused(1, "has parts but no _manifest.json", *self.command, "--out", self.root / "parquet", "--format", "parquet")

    def test_names_that_are_not_utf8_are_replaced(self):
        try:
            shutil.copy(self.pictures / "001.png", os.fsencode(self.pictures) + b"/\xff\xc3\xa4.png")
        except OSError:
            self.skipTest("this file system takes no such names")
        lines, out = self.root / "lines", self.root / "out"
        self.done(*self.command, "--out", lines)
        self.done(*self.command, "--out", out, "--format", "parquet")
        table = self.read(out, 3)
        self.assert_same(table, self.lines(lines))
        self.assertIn("\N{REPLACEMENT CHARACTER}ä.png", [pathlib.Path(name).name for name in table["file"].to_pylist()])

    def test_texts_some_of_which_have_no_answer(self):
        if run("inspect", ENCODER).returncode:
            self.skipTest("this build has no ICU")
        words = {"sea": ["ship", "fish", "river"], "town": ["street", "car", "door"]}
        rows = [f"{label} {word} {i},{label}" for i in range(4) for label, some in words.items() for word in some]
        (self.root / "table.csv").write_text("\n".join(["text,label", *rows]) + "\n")
        (self.root / "lines.txt").write_text("a ship\n\nGrüße 海\nstreet and car\n")
        tuned, calibrated = self.root / "tuned.pt", self.root / "calibrated.pt"
        data = self.root / "table.csv"
        self.done("finetune", ENCODER, "--train", data, "--val", data, "--out", tuned, "--epochs", 3, "--lr", 0.05)
        self.done("calibrate", tuned, "--data", data, "--out", calibrated, "--reject-below", 0.7)
        lines, out = self.root / "answers", self.root / "out"
        command = ["classify", calibrated, self.root / "lines.txt", "--top-k", 2]
        self.done(*command, "--out", lines)
        self.done(*command, "--out", out, "--format", "parquet")
        table = self.read(out, 1)
        self.assertEqual(len(table), 4)
        self.assertEqual(set(table["rejected"].to_pylist()), {True, False})
        self.assert_same(table, self.lines(lines))


@unittest.skipUnless(HAS_PARQUET, "this build has no Apache Arrow")
class Embed(Scratch):
    def check(self, model, data, parts, *options):
        rows, out = self.root / "rows", self.root / "out"
        command = ["embed", model, data, "--batch", 4, "--shard", 8, *options]
        self.done(*command, "--out", rows)
        self.done(*command, "--out", out, "--format", "parquet")
        table = self.read(out, parts)
        expected = np.concatenate([np.load(part) for part in sorted(rows.glob("*.npy"))])
        self.assertEqual(table.column_names, ["file", "embedding"])
        element = pyarrow.field("element", pyarrow.float32(), nullable=False)
        self.assertEqual(table.schema.field("embedding").type, pyarrow.list_(element, expected.shape[1]))
        found = table["embedding"].combine_chunks().flatten().to_numpy().reshape(expected.shape)
        self.assertTrue(np.array_equal(found.view(np.int32), expected.view(np.int32)))
        self.assertEqual(table["file"].to_pylist(), [name for part in sorted(rows.glob("*.txt")) for name in part.read_text().splitlines()])
        self.assertEqual(json.loads(table.schema.metadata[b"graft.about"])["command"], "embed")
        return table, out, command

    def test_the_same_as_npy(self):
        table, out, command = self.check(MODEL, self.pictures, 3)
        (out / "part-0000002.parquet").unlink()
        self.done(*command, "--out", out, "--format", "parquet")
        self.assertTrue(self.read(out, 3).equals(table))
        self.refused(1, "format: it had parquet, here npy", *command, "--out", out)
        self.refused(1, "format: it had npy, here parquet", *command, "--out", self.root / "rows", "--format", "parquet")

    def test_texts(self):
        if run("inspect", ENCODER).returncode:
            self.skipTest("this build has no ICU")
        (self.root / "lines.txt").write_text("".join(f"a ship at sea {i}\n" for i in range(9)))
        self.check(ENCODER, self.root / "lines.txt", 2)


class Usage(Scratch):
    def test_without_apache_arrow(self):
        """A program that has its module nowhere: one that was built without, or away from it."""
        alone = self.root / "graft"
        shutil.copy(GRAFT, alone)
        for command in ("classify", "embed"):
            result = subprocess.run([alone, command, MODEL, self.pictures, "--out", self.root / "out", "--format", "parquet"], capture_output=True, text=True)
            self.assertEqual(result.returncode, 2, result.stderr)
            self.assertTrue(result.stderr.startswith("graft: config: --format parquet: graft_parquet.so: "), result.stderr)
            self.assertIn("-DGRAFT_WITH_PARQUET=ON", result.stderr)
            self.assertFalse((self.root / "out").exists())
        self.assertEqual(subprocess.run([alone, "classify", MODEL, self.pictures], capture_output=True).returncode, 0)

    def test_another_module_is_refused(self):
        compiler = shutil.which("c++") or shutil.which("g++") or shutil.which("clang++")
        if not compiler:
            self.skipTest("no compiler")
        shutil.copy(GRAFT, self.root / "graft")
        source = self.root / "other.cpp"
        for code, found in (('const char* const module[3] = {"9.9"};\nextern "C" const void* graft_parquet_module() { return module; }', "9.9"),
                            ("int nothing;", "unknown")):
            source.write_text(code)
            subprocess.run([compiler, "-shared", "-fPIC", source, "-o", self.root / "graft_parquet.so"], check=True)
            result = subprocess.run([self.root / "graft", "classify", MODEL, self.pictures, "--out", self.root / "out", "--format", "parquet"],
                                    capture_output=True, text=True)
            self.assertEqual(result.returncode, 2, result.stderr)
            self.assertIn(f"graft_parquet.so is of Graft {found}, expected", result.stderr)

    def test_parquet_goes_into_folders(self):
        self.refused(2, "--format parquet: expected a folder for --out", "classify", MODEL, self.pictures, "--format", "parquet")
        self.refused(2, "--format parquet: expected a folder for --out", "embed", MODEL, self.pictures, "--out", self.root / "x.npy", "--format", "parquet")
        self.refused(2, "--format", "classify", MODEL, self.pictures, "--out", self.root / "out", "--format", "npy")
        self.refused(2, "--format", "embed", MODEL, self.pictures, "--out", self.root / "out", "--format", "jsonl")
        self.assertFalse((self.root / "out").exists())


if __name__ == "__main__":
    unittest.main()
