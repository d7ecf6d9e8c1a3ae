#!/usr/bin/env python3
"""graft finetune: recipes, configuration files, checkpoints, signals. Needs GRAFT_PROGRAM and GRAFT_EXAMPLES."""
import json
import pathlib
import random
import signal
import subprocess
import tempfile
import time
import unittest

from program import GRAFT, MODEL, make_folder, run

KILLS = 20


class Training(unittest.TestCase):
    def setUp(self):
        self.scratch = tempfile.TemporaryDirectory()
        self.root = pathlib.Path(self.scratch.name)
        make_folder(self.root)
        self.data = ["finetune", MODEL, "--train", self.root / "train", "--val", self.root / "val"]

    def tearDown(self):
        self.scratch.cleanup()

    def finetune(self, *options, code=0):
        result = run(*self.data, "--out", self.root / "out.pt", "--json", *options)
        self.assertEqual(result.returncode, code, result.stderr)
        return json.loads(result.stdout) if code == 0 else result.stderr

    def test_fine_tune_has_two_phases_with_rates_that_fall_towards_the_input(self):
        epochs = self.finetune("--recipe", "fine-tune", "--frozen-epochs", 2, "--epochs", 3)["epochs"]
        self.assertEqual([e["phase"] for e in epochs], [0, 0, 1, 1, 1])
        rates = {one["group"]: one["rate"] for one in epochs[-1]["learning_rates"]}
        self.assertAlmostEqual(rates["head"] / rates["stage 1"], 100)
        self.assertEqual([one["group"] for one in epochs[0]["learning_rates"]], ["all"])

    def test_groups_have_their_rates(self):
        epochs = self.finetune("--freeze", "none", "--epochs", 1, "--lr", 0.01, "--group", "head=2", "--group=*=0.5,0.1")["epochs"]
        self.assertEqual({one["group"]: one["rate"] for one in epochs[0]["learning_rates"]}, {"head": 0.02, "*": 0.005})
        self.assertIn("nothing_there", self.finetune("--group", "nothing_there=2", code=2))
        self.assertIn("LAYERS=RATE", self.finetune("--group", "head", code=2))

    def losses(self, *options):
        return [epoch["loss"] for epoch in self.finetune("--epochs", 3, "--batch", 4, *options)["epochs"]]

    def test_weight_decay_and_momentum_are_the_optimisers(self):
        for optimizer in ("sgd", "adam", "adamw", "rmsprop"):
            options = ["--optimizer", optimizer, "--lr", 0.01]
            decayed = self.losses(*options, "--weight-decay", 0.5)
            self.assertEqual(decayed, self.losses(*options, "--group", "*=1,0.5"))
            self.assertNotEqual(decayed, self.losses(*options))
        self.assertEqual(self.losses("--optimizer", "adamw", "--weight-decay", 0.01), self.losses("--optimizer", "adamw"))
        for optimizer in ("sgd", "rmsprop"):
            options = ["--optimizer", optimizer, "--lr", 0.001]
            self.assertNotEqual(self.losses(*options, "--momentum", 0.9), self.losses(*options))
            self.assertEqual(self.losses(*options, "--momentum", 0), self.losses(*options))
        self.assertIn("--momentum: expected --optimizer sgd or rmsprop, found adam", self.finetune("--momentum", 0.9, code=2))
        self.assertIn("--weight-decay", self.finetune("--weight-decay", -1, code=2))
        self.finetune("--checkpoint-dir", self.root / "run", "--epochs", 1)
        self.assertIn("optimizer", self.finetune("--checkpoint-dir", self.root / "run", "--epochs", 1, "--resume", "--weight-decay", 0.1, code=1))

    def test_a_part_of_the_training_data_is_validated_on(self):
        page, splitting = self.root / "split.html", ["finetune", MODEL, "--train", self.root / "train", "--out", self.root / "out.pt", "--epochs", 2, "--json"]

        def split(*options):
            result = run(*splitting, "--report", page, *options)
            self.assertEqual(result.returncode, 0, result.stderr)
            hashes = {one["name"]: one["value"] for one in json.loads(page.with_suffix(".json").read_text())["hashes"]}
            scores = json.loads(page.with_suffix(".json").read_text())["evaluations"][0]["evaluation"]
            return scores["confusion"], hashes["training data"], hashes["validation data"]

        confusion, train, val = split("--val-split", 0.34)
        self.assertEqual([sum(row) for row in confusion], [2, 2])  # of six pictures of each class
        self.assertEqual(split("--val-split", 0.34)[1:], (train, val))
        self.assertNotIn(val, split("--val-split", 0.34, "--seed", 1))
        self.assertIn("--val", self.finetune("--val-split", 0.3, code=2))  # beside --val
        for options in ([], ["--val-split", 0], ["--val-split", 1]):
            result = run(*splitting, *options)
            self.assertEqual(result.returncode, 2, result.stderr)
            self.assertIn("--val-split", result.stderr)
        for command in (["lr-find"], ["sweep", "--freeze-points", "all", "--epochs", 1], ["doctor", "--epochs", 0]):
            result = run(command[0], MODEL, "--train", self.root / "train", "--val-split", 0.34, *command[1:])
            self.assertEqual(result.returncode, 0, (command, result.stderr))

    def test_a_configuration_file_and_what_is_given_beside_it(self):
        config = self.root / "run.json"
        config.write_text(json.dumps({"epochs": 4, "batch": 4, "balanced-sampling": True, "no-decay-1d": False, "clip-norm": 1.5,
                                      "group": ["head=1"], "train": str(self.root / "train"), "val": str(self.root / "val")}))
        result = run("finetune", MODEL, "--config", config, "--epochs", 2, "--out", self.root / "out.pt", "--json")
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertEqual(len(json.loads(result.stdout)["epochs"]), 2)
        for text, code, message in (('{"epoch": 3}', 2, 'unknown key "epoch"'), ("[1]", 1, "expected a JSON object"),
                                    ('{"epochs": "many"}', 2, "many"), ('{"epochs": {}}', 2, '"epochs"'), ("{", 1, "JSON")):
            config.write_text(text)
            self.assertIn(message, self.finetune("--config", config, code=code))
        self.assertIn("cannot open the configuration: No such file or directory", self.finetune("--config", self.root / "missing.json", code=1))

    def test_float16_learns_as_float32(self):
        options = ["--epochs", 10, "--lr", 0.01, "--batch", 4]
        exact, rough = self.finetune(*options), self.finetune(*options, "--precision", "float16")
        self.assertNotEqual(exact["epochs"][0]["loss"], rough["epochs"][0]["loss"])
        for last in exact["epochs"][-1], rough["epochs"][-1]:  # which are not the same: some of the first steps overflow
            self.assertLess(last["loss"], 0.2)
            self.assertEqual(last["val_accuracy"], 1)
        scores = [json.loads(run("evaluate", self.root / "out.pt", "--data", self.root / "val", "--json", "--precision", precision).stdout)
                  for precision in ("float32", "float16")]
        self.assertLess(abs(scores[0]["loss"] - scores[1]["loss"]), 0.02)
        self.assertIn("precision", self.finetune("--precision", "int8", code=2))

    def batch_auto(self, *options):
        result = run(*self.data, "--out", self.root / "auto.pt", "--json", "--batch", "auto", *options)
        self.assertEqual(result.returncode, 0, result.stderr)
        return json.loads(result.stdout)["batch_size"], result.stderr

    def test_batch_auto_is_the_run_with_what_it_chose(self):
        options = ["--recipe", "fine-tune", "--epochs", 2, "--head", "mlp:8", "--augment", "hflip", "--threads", 1]
        found, said = self.batch_auto(*options)
        self.assertEqual(found, 8)  # of 12 pictures
        self.assertIn("--batch auto: 8\n", said)
        self.assertEqual(self.finetune(*options, "--batch", 8)["batch_size"], 8)
        self.assertEqual((self.root / "auto.pt").read_bytes(), (self.root / "out.pt").read_bytes())

    def test_batch_auto_stays_what_it_was_when_a_run_is_resumed(self):
        checkpoints = ["--checkpoint-dir", self.root / "run", "--epochs", 2, "--resume"]
        self.assertEqual(self.batch_auto(*checkpoints)[0], 8)
        result = self.batch_auto(*checkpoints)
        self.assertEqual(result[0], 8)
        self.assertIn("--batch auto: 8, as the run has it that is resumed", result[1])
        self.finetune("--checkpoint-dir", self.root / "other", "--epochs", 1, "--batch", 3)
        self.assertEqual(self.batch_auto("--checkpoint-dir", self.root / "other", "--epochs", 1, "--resume")[0], 3)

    def test_batch_is_a_number_or_auto(self):
        for text in ("0", "-1", "many", "1.5"):
            self.assertIn("--batch", self.finetune("--batch", text, code=2))
        self.assertEqual(run("lr-find", *self.data[1:], "--batch", "auto").returncode, 2)

    def test_early_stopping(self):
        result = self.finetune("--epochs", 50, "--lr", 1e-9, "--early-stopping", "2:0.1")
        self.assertEqual(len(result["epochs"]), 3)
        self.assertTrue(result["stopped_early"])
        for bad in ("soon", "1:nan", "1:-0.1", "1:inf"):
            self.assertIn("early-stopping", self.finetune("--early-stopping", bad, code=2))

    def test_class_weights(self):
        weighed = self.finetune("--epochs", 1, "--class-weights", "1,3")["epochs"][0]["loss"]
        self.assertNotEqual(weighed, self.finetune("--epochs", 1)["epochs"][0]["loss"])
        self.assertIn("class_weights", self.finetune("--class-weights", "1,2,3", code=2))
        self.assertIn("not both", self.finetune("--class-weights", "balanced", "--balanced-sampling", code=2))

    def start(self, out, checkpoints, *options):
        return subprocess.Popen([GRAFT, *map(str, self.long_run), "--out", str(out), "--checkpoint-dir", str(checkpoints),
                                 "--checkpoint-steps", "3", "--resume", *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    @property
    def long_run(self):
        return [*self.data, "--recipe", "fine-tune", "--epochs", 6, "--batch", 2, "--head", "mlp:16", "--lr", 0.01, "--ema", 0.9,
                "--augment", "hflip", "--threads", 1]

    def undisturbed(self):
        start = time.monotonic()
        self.assertEqual(run(*self.long_run, "--out", self.root / "whole.pt").returncode, 0)
        return (self.root / "whole.pt").read_bytes(), time.monotonic() - start

    def test_killed_at_random_moments_and_resumed_it_writes_the_same_file(self):
        whole, seconds = self.undisturbed()
        rng, killed = random.Random(1), 0
        for attempt in range(KILLS):
            checkpoints, out = self.root / f"run-{attempt}", self.root / f"{attempt}.pt"
            process = self.start(out, checkpoints)
            time.sleep(rng.uniform(0, seconds))
            process.kill()
            killed += process.wait() == -signal.SIGKILL
            process.communicate()
            process = self.start(out, checkpoints)
            _, errors = process.communicate()
            self.assertEqual(process.returncode, 0, errors)
            self.assertEqual(out.read_bytes(), whole, f"attempt {attempt}")
        self.assertGreaterEqual(killed, KILLS // 2)

    def test_case_98_signals_end_it_after_a_step_with_a_checkpoint(self):
        whole, _ = self.undisturbed()
        for number in (signal.SIGINT, signal.SIGTERM):
            checkpoints, out = self.root / f"run-{number}", self.root / f"{number}.pt"
            process = self.start(out, checkpoints)
            while not list(checkpoints.glob("checkpoint-*")):
                time.sleep(0.01)
                self.assertIsNone(process.poll())
            process.send_signal(number)
            _, errors = process.communicate()
            self.assertEqual(process.returncode, 128 + number, errors)
            self.assertIn(b"--resume", errors)
            self.assertFalse(out.exists())
            process = self.start(out, checkpoints)
            process.communicate()
            self.assertEqual(out.read_bytes(), whole)

    def test_stopped_without_checkpoints_it_says_that_nothing_is_saved(self):
        process = subprocess.Popen([GRAFT, *map(str, self.data), "--out", self.root / "none.pt", "--epochs", "100000"],
                                   stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        self.assertIn(b"epoch 1/", process.stderr.readline())
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate()
        self.assertEqual(process.returncode, 130, errors)
        self.assertIn(b"nothing of this run is saved; --checkpoint-dir FOLDER", errors)

    def test_another_runs_checkpoint_is_refused(self):
        checkpoints = ["--checkpoint-dir", self.root / "run", "--epochs", 1]
        self.finetune(*checkpoints)
        self.assertIn("resume it (--resume", self.finetune(*checkpoints, code=2))
        self.assertIn("seed: it had 0, here 5", self.finetune(*checkpoints, "--resume", "--seed", 5, code=1))
        self.assertIn("input: it had {", self.finetune(*checkpoints, "--resume", "--preprocessing", "caffe", code=1))
        self.assertIn("training contents: it had", self.finetune(*checkpoints, "--resume", "--reduced-decoding", code=1))
        self.assertIn("checkpoint-dir", self.finetune("--resume", code=2))

    def test_a_checkpoint_is_a_safetensors_file(self):
        from safetensors import safe_open

        self.finetune("--checkpoint-dir", self.root / "run", "--epochs", 2)
        for path in (self.root / "run").glob("*.safetensors"):
            with safe_open(path, "pt") as file:
                self.assertEqual(tuple(file.get_tensor("weights/head.fc.bias").shape), (2,))
                self.assertEqual(file.metadata()["setting/seed"], "0")


if __name__ == "__main__":
    unittest.main(verbosity=2)
