#!/usr/bin/env python3
"""graft as several processes under mpirun: classify and embed into a folder, finetune. Needs GRAFT_PROGRAM, GRAFT_EXAMPLES and
GRAFT_MPIRUN. GRAFT_KILLS says how many kills classifying in bulk has to survive."""
import json
import os
import pathlib
import random
import shlex
import shutil
import signal
import subprocess
import tempfile
import time
import unittest

import numpy as np
import torch

from program import GRAFT, MODEL, ROOT, draw_noise, make_folder, run

MPIRUN = shlex.split(os.environ["GRAFT_MPIRUN"])
KILLS = int(os.environ.get("GRAFT_KILLS", 3))
TOLERANCE = 1e-5
ENCODER = ROOT / "tests" / "golden" / "text" / "tiny.pt"


def several(count, *arguments):
    return [*MPIRUN, "-np", str(count), GRAFT, *map(str, arguments), "--threads", "1"]


def run_several(count, *arguments, code=0):
    result = subprocess.run(several(count, *arguments), capture_output=True, text=True, timeout=300)
    if (result.returncode == 0) != (code == 0):
        raise AssertionError(f"exit status {result.returncode}: {result.stderr}")
    return result


def rank_of(pid):
    """None unless it is one of mpirun's processes."""
    try:
        environment = pathlib.Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return None
    for entry in environment:
        if entry.startswith(b"OMPI_COMM_WORLD_RANK="):
            return int(entry.split(b"=")[1])
    return None


def processes_of(mpirun):
    """Process ids by rank."""
    found = {}
    for path in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            parent = int((path / "stat").read_text().rsplit(")", 1)[1].split()[1])
        except OSError:
            continue
        if parent == mpirun.pid and (rank := rank_of(path.name)) is not None:
            found[rank] = int(path.name)
    return found


def killed_runs(command, kills, draw, undisturbed):
    """Runs a command of several() again and again and kills one of its processes, or all at once, as when the machine fails, at random
    moments of a run that takes `undisturbed` seconds. Yields, after each, whether it was still at work."""
    for kill in range(kills):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True)
        time.sleep(draw.uniform(0.3, 1) * undisturbed)
        at_work, ranks = process.poll() is None, processes_of(process)
        for pid in [draw.choice(list(ranks.values()))] if ranks and kill % 2 else [process.pid, *ranks.values()]:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        process.communicate(timeout=60)
        yield at_work


class Scratch(unittest.TestCase):
    def setUp(self):
        self.scratch = tempfile.TemporaryDirectory()
        self.root = pathlib.Path(self.scratch.name)

    def tearDown(self):
        self.scratch.cleanup()


class Bulk(Scratch):
    def setUp(self):
        super().setUp()
        self.pictures = draw_noise(self.root / "pictures", 61)
        (self.pictures / "007.png").write_bytes(b"\x89PNG\r\n\x1a\n")
        self.options = [self.pictures, "--batch", 4, "--on-bad-image", "skip"]

    def answers(self, folder):
        lines = [json.loads(line) for part in sorted(folder.glob("part-*.jsonl")) for line in part.read_text().splitlines()]
        self.assertEqual([line["file"] for line in lines], sorted(str(path) for path in self.pictures.iterdir()))
        return lines

    def alone(self):
        result = run("classify", MODEL, *self.options, "--json", "--threads", 1)
        self.assertEqual(result.returncode, 0, result.stderr)
        return json.loads(result.stdout)

    def assert_same_answers(self, lines, alone):
        self.assertEqual([line for line in lines if "top" in line], alone["predictions"])
        self.assertEqual([line["file"] for line in lines if "error" in line], [bad["file"] for bad in alone["bad_images"]])
        self.assertIn("007.png", next(line["error"] for line in lines if "error" in line))

    def test_any_number_of_processes_answers_as_one_does(self):
        alone = self.alone()
        for count in (1, 3):
            out = self.root / f"out{count}"
            arguments = ["classify", MODEL, *self.options, "--out", out, "--shard", 7, "--json"]
            if count == 1:
                result = run(*arguments, "--threads", 1)
                self.assertEqual(result.returncode, 0, result.stderr)
            else:
                result = run_several(count, *arguments)
            said = json.loads(result.stdout)
            self.assertEqual([said[key] for key in ("examples", "parts", "answered_now", "bad_images_now", "processes")],
                             [61, 8, 61, 1, count])
            self.assert_same_answers(self.answers(out), alone)
            manifest = json.loads((out / "manifest.json").read_text())
            self.assertTrue(manifest["complete"])
            self.assertEqual(manifest["about"]["examples of a part"], "8")

    def test_pictures_none_of_which_can_be_read_are_answered_too(self):
        for path in self.pictures.iterdir():
            path.write_bytes(b"nothing")
        self.options = [self.pictures, "--on-bad-image", "skip"]
        out = self.root / "out"
        result = run("classify", MODEL, *self.options, "--out", out)
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertTrue(all("top" not in line and line["error"] for line in self.answers(out)))

    def test_survives_kills_at_random_moments(self):
        alone, out, draw = self.alone(), self.root / "out", random.Random(3)
        arguments = ["classify", MODEL, *self.options, "--out", out, "--shard", 4]
        start = time.monotonic()
        run_several(2, *arguments)
        undisturbed = time.monotonic() - start
        shutil.rmtree(out)
        for _ in killed_runs(several(2, *arguments), KILLS, draw, undisturbed):
            for part in out.glob("part-*.jsonl"):
                self.assertEqual(len([json.loads(line) for line in part.read_text().splitlines()]), 4 if "15" not in part.name else 1)
            if draw.random() < 0.3 and (parts := list(out.glob("part-*.jsonl"))):
                draw.choice(parts).unlink()  # so that later kills have something to hit
        result = run_several(2, *arguments)
        self.assert_same_answers(self.answers(out), alone)
        self.assertTrue(json.loads((out / "manifest.json").read_text())["complete"], result.stderr)
        self.assertEqual(sorted(p.name for p in out.iterdir()), ["manifest.json", *(f"part-{i:07}.jsonl" for i in range(16))])

    def test_what_does_not_belong_together_is_refused(self):
        out = self.root / "out"
        arguments = ["classify", MODEL, *self.options, "--out", out]
        self.assertEqual(run(*arguments).returncode, 0)
        result = run(*arguments, "--top-k", 1)
        self.assertEqual(result.returncode, 1)
        self.assertIn("top-k: it had 5, here 1", result.stderr)
        (self.pictures / "new.png").write_bytes((self.pictures / "001.png").read_bytes())
        self.assertIn("pictures: it had 61", run(*arguments).stderr)
        (out / "manifest.json").write_text("{")
        self.assertIn("no manifest", run(*arguments).stderr)
        (out / "manifest.json").unlink()
        self.assertIn("has parts but no manifest", run(*arguments).stderr)

        one = several(1, "classify", MODEL, *self.options, "--out", self.root / "both")
        other = several(1, "classify", MODEL, *self.options, "--out", self.root / "both", "--task", "x", "--top-k", 3)[len(MPIRUN):]
        result = subprocess.run([*one, ":", *other], capture_output=True, text=True, timeout=60)
        self.assertNotEqual(result.returncode, 0)
        self.assertIn("task: rank 0 has , rank 1 has x; top-k: rank 0 has 5, rank 1 has 3", result.stderr)
        self.assertIn("--out FOLDER", run_several(2, "classify", MODEL, self.pictures, code=2).stderr)
        self.assertIn("expected one process", run_several(2, "inspect", MODEL, code=2).stderr)

    def test_embedding_in_bulk(self):
        (self.pictures / "007.png").unlink()
        one, folder = self.root / "all.npy", self.root / "parts"
        self.assertEqual(run("embed", MODEL, self.pictures, "--out", one, "--batch", 4, "--threads", 1).returncode, 0)
        run_several(2, "embed", MODEL, self.pictures, "--out", folder, "--batch", 4, "--shard", 8)
        parts = sorted(folder.glob("*.npy"))
        self.assertEqual(len(parts), 8)
        np.testing.assert_array_equal(np.concatenate([np.load(part) for part in parts]), np.load(one))
        names = [name for part in parts for name in pathlib.Path(f"{part}.txt").read_text().splitlines()]
        self.assertEqual(names, sorted(str(path) for path in self.pictures.iterdir()))
        self.assertIn("expected a folder", run_several(2, "embed", MODEL, self.pictures, "--out", one, code=2).stderr)


class Texts(Scratch):
    """An encoder of random weights."""

    def setUp(self):
        super().setUp()
        if run("inspect", ENCODER).returncode:
            self.skipTest("this build has no ICU")
        draw = random.Random(5)
        self.lines = [" ".join(draw.choices(["ship", "sea", "town", "street", "car", "wind"], k=draw.randint(0, 9))) for _ in range(21)]
        (self.root / "lines.txt").write_text("".join(line + "\n" for line in self.lines))
        for name in ("train", "val"):
            rows = (f"{draw.choice(['sea', 'ship'] if i % 2 else ['town', 'car'])} {i},{'sea' if i % 2 else 'town'}\n" for i in range(12))
            (self.root / f"{name}.csv").write_text("text,label\n" + "".join(rows))

    def test_are_embedded_in_bulk(self):
        one, folder = self.root / "all.npy", self.root / "parts"
        self.assertEqual(run("embed", ENCODER, self.root / "lines.txt", "--out", one, "--batch", 4, "--threads", 1).returncode, 0)
        run_several(2, "embed", ENCODER, self.root / "lines.txt", "--out", folder, "--batch", 4, "--shard", 4)
        parts = sorted(folder.glob("*.npy"))
        self.assertEqual(len(parts), 6)
        np.testing.assert_array_equal(np.concatenate([np.load(part) for part in parts]), np.load(one))
        self.assertEqual(pathlib.Path(f"{parts[5]}.txt").read_text(), f"{self.root}/lines.txt:21\n")
        (self.root / "lines.txt").write_text("other\n" * 21)
        self.assertIn("texts: it had 21", run_several(2, "embed", ENCODER, self.root / "lines.txt", "--out", folder, "--batch", 4, "--shard", 4, code=1).stderr)

    def test_are_learned_from_as_by_one_process(self):
        found = []
        for count in (1, 4):  # of the last batch, of two, four processes do not all have some
            out = self.root / f"of{count}.pt"
            run_several(count, "finetune", ENCODER, "--train", self.root / "train.csv", "--val", self.root / "val.csv", "--out", out, "--batch", 5, "--epochs", 2,
                        "--freeze", "stages:2", "--optimizer", "sgd", "--lr", 0.05)
            found.append(torch.jit.load(str(out)).state_dict())
        for name, tensor in found[0].items():
            self.assertLessEqual((tensor - found[1][name]).abs().max().item(), TOLERANCE, name)


class Training(Scratch):
    def setUp(self):
        super().setUp()
        make_folder(self.root)
        self.data = ["finetune", MODEL, "--train", self.root / "train", "--val", self.root / "val", "--seed", 3]

    def finetune(self, count, name, *options):
        batch = [] if "--batch" in options else ["--batch", 5]
        arguments = [*self.data, *batch, "--out", self.root / f"{name}.pt", "--json", *options]
        if count == 1:
            result = run(*arguments, "--threads", 1)
            self.assertEqual(result.returncode, 0, result.stderr)
        else:
            result = run_several(count, *arguments)
        return json.loads(result.stdout), torch.jit.load(str(self.root / f"{name}.pt")).state_dict()

    def assert_same(self, one, other, tolerance=TOLERANCE):
        self.assertEqual(len(one[0]["epochs"]), len(other[0]["epochs"]))
        for a, b in zip(one[0]["epochs"], other[0]["epochs"]):
            for key in ("loss", "accuracy", "val_loss", "val_accuracy"):
                self.assertLessEqual(abs(a[key] - b[key]), tolerance, key)
        self.assertEqual(one[1].keys(), other[1].keys())
        for name, tensor in one[1].items():
            self.assertLessEqual((tensor.double() - other[1][name].double()).abs().max().item(), tolerance, name)

    def check_any_number(self, *options):
        """Batches of 5, 5 and 2 examples: of the last one four processes do not all have some."""
        one = self.finetune(1, "one", *options)
        before = torch.jit.load(MODEL).state_dict()
        for count in (2, 4):
            several_ = self.finetune(count, f"of{count}", *options)
            self.assert_same(one, several_)
        return one, before

    def test_a_linear_head(self):
        self.check_any_number("--epochs", 3, "--lr", 0.05, "--optimizer", "sgd")

    def test_the_last_stage(self):
        one, before = self.check_any_number("--freeze", "stages:1", "--bn", "inference", "--epochs", 2, "--lr", 0.05, "--optimizer", "sgd",
                                            "--augment", "hflip,shear=0.2")
        changed = [name for name, tensor in one[1].items() if name in before and not torch.equal(tensor, before[name])]
        self.assertTrue(changed)

    def test_accumulation_clipping_and_class_weights(self):
        one = self.finetune(1, "one", "--epochs", 2, "--accumulate", 2, "--clip-norm", 0.5, "--class-weights", "1,3", "--lr", 0.05,
                            "--optimizer", "sgd", "--label-smoothing", 0.1, "--ema", 0.8)
        two = self.finetune(2, "two", "--epochs", 2, "--accumulate", 2, "--clip-norm", 0.5, "--class-weights", "1,3", "--lr", 0.05,
                            "--optimizer", "sgd", "--label-smoothing", 0.1, "--ema", 0.8)
        self.assert_same(one, two)

    def test_float16_learns_as_in_one_process(self):
        options = ["--epochs", 10, "--lr", 0.01, "--precision", "float16"]
        for count in (1, 2):  # which steps overflow at first may differ: sums of parts are smaller
            last = self.finetune(count, f"of{count}", *options)[0]["epochs"][-1]
            self.assertLess(last["loss"], 0.2)
            self.assertEqual(last["val_accuracy"], 1)

    def test_batch_auto_is_what_all_have_room_for(self):
        options = ["--epochs", 2, "--lr", 0.05, "--optimizer", "sgd"]
        state = ["--checkpoint-dir", self.root / "state", "--resume"]
        two = self.finetune(2, "two", *options, *state, "--batch", "auto")
        self.assertEqual(two[0]["batch_size"], 8)  # 4 of the 6 that each of them has
        self.assert_same(self.finetune(1, "one", *options, "--batch", 8), two)
        again = run_several(2, *self.data, "--out", self.root / "x.pt", *options, *state, "--batch", "auto")
        self.assertIn("--batch auto: 8, as the run has it that is resumed", again.stderr)

    def test_batch_norm_that_trains_has_the_same_statistics_everywhere(self):
        options = ["--freeze", "none", "--bn", "train", "--batch", 6, "--epochs", 1, "--lr", 1e-4]
        said, weights = self.finetune(2, "two", *options)
        self.assertTrue(np.isfinite(said["epochs"][0]["loss"]))
        self.assertIn("2 or more for each", run_several(2, *self.data, "--out", self.root / "x.pt", "--freeze", "none", "--bn", "train",
                                                        "--batch", 3, code=2).stderr)

    def test_an_unreadable_picture_is_left_out_by_all(self):
        (self.root / "train" / "across" / "2.png").write_bytes(b"nothing")
        (self.root / "val" / "down" / "1.png").write_bytes(b"nothing")
        options = ["--on-bad-image", "skip", "--epochs", 2, "--optimizer", "sgd", "--lr", 0.05]
        one, two = self.finetune(1, "one", *options), self.finetune(2, "two", *options)
        self.assert_same(one, two)
        self.assertEqual(sorted(b["file"] for b in one[0]["bad_images"]), sorted(b["file"] for b in two[0]["bad_images"]))

    def test_processes_that_differ_are_refused(self):
        shutil.copytree(self.root / "train", self.root / "other")
        (self.root / "other" / "down" / "5.png").unlink()
        other = [self.root / "other" if part == self.root / "train" else part for part in self.data]
        one = several(1, *self.data, "--out", self.root / "x.pt")
        for arguments, expected in (([*other], "training data: rank 0 has 12 examples"),
                                    ([*self.data, "--lr", 0.5], "optimizer: rank 0 has adam(0.001"),
                                    ([*self.data, "--preprocessing", "tf"], "input: rank 0 has {"),
                                    ([*self.data, "--on-bad-image", "skip"], "training data: rank 0 has 12 examples"),
                                    ([*self.data, "--head", "mlp:4"], "head: rank 0 has linear, rank 1 has mlp")):
            two = several(1, *arguments, "--out", self.root / "x.pt")[len(MPIRUN):]
            result = subprocess.run([*one, ":", *two], capture_output=True, text=True, timeout=60)
            self.assertNotEqual(result.returncode, 0)
            self.assertIn(expected, result.stderr)
            self.assertFalse((self.root / "x.pt").exists())

    def long_run(self, name):
        return [*self.data, "--out", self.root / f"{name}.pt", "--json", "--epochs", 40, "--head", "mlp:16", "--augment", "hflip", "--freeze",
                "stages:1", "--bn", "inference", "--checkpoint-dir", self.root / f"{name}-state", "--checkpoint-steps", 2, "--resume"]

    def test_a_killed_rank_ends_the_run_which_goes_on_later(self):
        undisturbed = json.loads(run_several(2, *self.long_run("whole")).stdout)
        process = subprocess.Popen(several(2, *self.long_run("killed")), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        state = self.root / "killed-state" / "checkpoint-1.safetensors"
        while not state.exists() and process.poll() is None:
            time.sleep(0.01)
        time.sleep(0.2)
        start = time.monotonic()
        os.kill(processes_of(process)[1], signal.SIGKILL)
        _, said = process.communicate(timeout=60)
        self.assertLess(time.monotonic() - start, 30)
        self.assertNotEqual(process.returncode, 0)
        self.assertRegex(said, r"rank 1\b.*(signal 9|Killed)")
        self.assertFalse((self.root / "killed.pt").exists())
        again = json.loads(run_several(2, *self.long_run("killed")).stdout)
        weights = [torch.jit.load(str(self.root / f"{name}.pt")).state_dict() for name in ("whole", "killed")]
        self.assert_same((undisturbed, weights[0]), (again, weights[1]), tolerance=0)
        alone = run(*self.long_run("killed"), "--threads", 1)
        self.assertEqual(alone.returncode, 1)
        self.assertIn("processes: it had 2", alone.stderr)

    def test_a_rank_that_fails_is_named(self):
        (self.root / "train" / "across" / "2.png").write_bytes(b"nothing")
        result = run_several(2, *self.data, "--out", self.root / "x.pt", code=1)
        self.assertRegex(result.stderr, r"graft: rank \d: format: .*2\.png")


if __name__ == "__main__":
    unittest.main()
