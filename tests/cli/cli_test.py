#!/usr/bin/env python3
"""The program from outside: results, exit codes, messages, progress. Needs GRAFT_PROGRAM and GRAFT_EXAMPLES (folders)."""
import contextlib
import importlib.util
import json
import os
import pathlib
import pty
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

import numpy as np
import torch
from google.protobuf import text_format
from PIL import Image

from program import EXAMPLES, GRAFT, MODEL, PICTURES, ROOT, make_folder, run


def triton_config(path):
    """config.pbtxt read by Triton's own description of it. The package's front door would ask for gRPC."""
    folder = pathlib.Path(importlib.util.find_spec("tritonclient").submodule_search_locations[0])
    spec = importlib.util.spec_from_file_location("model_config_pb2", folder / "grpc" / "model_config_pb2.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module, text_format.Parse(path.read_text(), module.ModelConfig())


class Cli(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.scratch = tempfile.TemporaryDirectory()
        cls.data = pathlib.Path(cls.scratch.name)
        make_folder(cls.data)
        cls.tuned = cls.data / "tuned.pt"
        cls.finetune = ["finetune", MODEL, "--train", cls.data / "train", "--val", cls.data / "val", "--out", cls.data / "other.pt"]
        cls.result = run(*cls.finetune[:-1], cls.tuned, "--json", "--epochs", 6, "--lr", 0.01, "--batch", 4)

    @classmethod
    def tearDownClass(cls):
        cls.scratch.cleanup()

    def test_classify_names_what_is_drawn(self):
        result = run("classify", MODEL, PICTURES, "--json", "--top-k", 3)
        self.assertEqual(result.returncode, 0, result.stderr)
        document = json.loads(result.stdout)
        self.assertGreater(document["images_per_second"], 0)
        self.assertEqual([p["file"] for p in document["predictions"]], sorted(p["file"] for p in document["predictions"]))
        for prediction in document["predictions"]:
            self.assertEqual(len(prediction["top"]), 3)
            self.assertEqual(set(prediction["top"][0]), {"id", "label", "index", "probability"})
            self.assertEqual(prediction["top"][0]["id"], pathlib.Path(prediction["file"]).stem)

    def test_labels_come_from_a_file(self):
        names = [one["label"] for one in json.loads(run("inspect", MODEL, "--json").stdout)["labels"]]
        labels = self.data / "labels.txt"
        labels.write_bytes("".join(f"my {name}\r\n" for name in names).encode())
        result = run("classify", MODEL, PICTURES + "/star.png", "--json", "--labels", labels)
        self.assertEqual(json.loads(result.stdout)["predictions"][0]["top"][0]["label"], "my star")
        labels.write_text("one\n")
        result = run("classify", MODEL, PICTURES + "/star.png", "--labels", labels)
        self.assertEqual((result.returncode, result.stderr.count("\n")), (1, 1))
        self.assertIn("graft: mismatch: ", result.stderr)
        self.assertIn("labels: expected", result.stderr)

    def test_text_output_is_for_people(self):
        result = run("classify", MODEL, PICTURES + "/star.png", "--quiet")
        self.assertRegex(result.stdout, r"star\.png\n +\d+\.\d\d %  star\n")
        self.assertEqual(result.stderr, "")

    def test_finetune_learns_and_proves_the_frozen_part(self):
        self.assertEqual(self.result.returncode, 0, self.result.stderr)
        document = json.loads(self.result.stdout)
        self.assertEqual(len(document["epochs"]), 6)
        self.assertLessEqual({"loss", "accuracy", "val_loss", "val_accuracy", "seconds"}, set(document["epochs"][0]))
        self.assertEqual(document["epochs"][document["best"]]["val_accuracy"], 1)
        self.assertIs(document["frozen_unchanged"], True)
        self.assertGreater(document["images_per_second"], 0)
        self.assertEqual(len(self.result.stderr.splitlines()), 6)  # one plain line an epoch: no terminal here

    def test_a_trained_head_is_kept_and_trained_further(self):
        again = run("finetune", self.tuned, *self.finetune[2:-1], self.data / "again.pt", "--head", "keep", "--epochs", 1, "--lr", 1e-6, "--json")
        self.assertEqual(json.loads(again.stdout)["epochs"][0]["val_accuracy"], 1)
        other = run("finetune", MODEL, *self.finetune[2:], "--head", "keep")
        self.assertEqual(other.returncode, 1)
        self.assertIn("graft: mismatch: --head keep", other.stderr)

    def test_the_saved_file_gives_the_same_predictions_in_python(self):
        check = subprocess.run([sys.executable, str(ROOT / "models" / "check_in_python.py"), str(self.tuned),
                                str(self.data / "val"), "--graft", GRAFT], capture_output=True, text=True)
        self.assertEqual(check.returncode, 0, check.stdout + check.stderr)
        self.assertIn("12 of 12", check.stdout)
        names = [name for name, _ in torch.jit.load(str(self.tuned)).named_parameters()]
        self.assertIn("layer4.0.conv2.weight", names)
        self.assertIn("head.fc.weight", names)

    def test_evaluate(self):
        document = json.loads(run("evaluate", self.tuned, "--data", self.data / "val", "--json").stdout)
        self.assertEqual(document["accuracy"], 1)
        self.assertLessEqual({"accuracy", "top5_accuracy", "per_class", "confusion", "ece"}, set(document))
        self.assertEqual(document["confusion"], [[6, 0], [0, 6]])
        self.assertIn("precision", run("evaluate", self.tuned, "--data", self.data / "val").stdout)

    @unittest.skipUnless("vnni" in pathlib.Path("/proc/cpuinfo").read_text(), "no int8 arithmetic in this processor")
    def test_quantize_writes_a_file_that_runs_in_int8(self):
        out = self.data / "int8.pt"
        result = run("quantize", self.tuned, "--calibration", self.data / "train", "--out", out, "--json")
        self.assertEqual(result.returncode, 0, result.stderr)
        document = json.loads(result.stdout)
        self.assertEqual(document["convolutions_in_int8"], document["convolutions"])
        self.assertEqual(document["int8"]["examples"], 12)
        self.assertEqual((document["int8"]["top1_agreement"], document["int8"]["int8_accuracy"]), (1, 1))
        self.assertEqual(json.loads(run("inspect", out, "--json").stdout)["int8"], document["int8"])

        answers = {}
        for precision in ("float32", "int8"):
            scores = json.loads(run("evaluate", out, "--data", self.data / "val", "--precision", precision, "--json").stdout)
            self.assertEqual(scores["accuracy"], 1)
            guesses = json.loads(run("classify", out, self.data / "val", "--precision", precision, "--json").stdout)["predictions"]
            answers[precision] = np.array([p["top"][0]["probability"] for p in guesses])
        self.assertGreater(abs(answers["int8"] - answers["float32"]).max(), 0)
        self.assertLess(abs(answers["int8"] - answers["float32"]).max(), 0.1)
        self.assertEqual(torch.jit.load(str(out))(torch.zeros(1, 3, 64, 64)).dtype, torch.float32)  # as any other file

        text = run("quantize", self.tuned, "--calibration", self.data / "val" / "down", "--out", out, "--limit", 5).stdout
        self.assertRegex(text, r"in int8.*\nint8 beside float32 on 5 pictures: the same class first for 100\.00 %")
        self.assertNotIn("accuracy", text)  # nobody said what is in them

    def test_int8_wants_a_calibrated_file(self):
        result = run("classify", MODEL, PICTURES, "--precision", "int8")
        self.assertEqual((result.returncode, result.stdout), (2, ""))
        self.assertRegex(result.stderr, r"graft: config: .*not calibrated.*graft quantize")
        self.assertEqual(run("quantize", MODEL, "--calibration", PICTURES).returncode, 2)  # where to?
        self.assertEqual(run(*self.finetune, "--precision", "int8").returncode, 2)
        self.assertEqual(run("quantize", MODEL, "--calibration", self.data / "nowhere", "--out", self.data / "never.pt").returncode, 1)
        self.assertFalse((self.data / "never.pt").exists())

    def test_embed_writes_numpy(self):
        out = self.data / "features.npy"
        result = run("embed", MODEL, PICTURES, "--out", out, "--json")
        self.assertEqual(json.loads(result.stdout)["shape"], [8, 128])
        self.assertEqual(np.load(out).shape, (8, 128))
        self.assertEqual(json.loads(run("embed", MODEL, PICTURES, "--out", out, "--layer", "layer1", "--json").stdout)["shape"], [8, 24])

    def test_embed_leaves_out_what_cannot_be_read_where_asked_to(self):
        photos = self.data / "photos"
        shutil.copytree(PICTURES, photos)
        names = sorted(str(f) for f in photos.iterdir())
        run("embed", MODEL, photos, "--out", self.data / "all.npy")
        expected = np.load(self.data / "all.npy")
        bad = pathlib.Path(names[3])
        bad.write_bytes(b"GIF89a")
        kept = [i for i in range(8) if i != 3]
        out, folder = self.data / "some.npy", self.data / "some_features"
        command = ["embed", MODEL, photos, "--batch", 4]
        self.assertEqual(run(*command, "--out", out).returncode, 1)
        found = json.loads(run(*command, "--out", out, "--on-bad-image", "skip", "--json").stdout)
        self.assertEqual((found["shape"], [b["file"] for b in found["bad_images"]]), ([7, 128], [str(bad)]))
        np.testing.assert_allclose(np.load(out), expected[kept], atol=1e-5)
        done = run(*command, "--out", folder, "--shard", 4, "--on-bad-image", "skip", "--json")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(json.loads(done.stdout)["bad_images_now"], 1)
        parts = sorted(folder.glob("part-*.npy"))
        self.assertEqual([np.load(part).shape[0] for part in parts], [3, 4])
        np.testing.assert_allclose(np.concatenate([np.load(part) for part in parts]), expected[kept], atol=1e-5)
        listed = [line for part in parts for line in pathlib.Path(f"{part}.txt").read_text().splitlines()]
        self.assertEqual(listed, [names[i] for i in kept])
        for name in names[:4]:
            pathlib.Path(name).write_bytes(b"GIF89a")
        result = run(*command, "--out", self.data / "none", "--shard", 4, "--on-bad-image", "skip")
        self.assertEqual(result.returncode, 1)
        self.assertRegex(result.stderr, r"graft: mismatch: .*part-0000000\.npy: none of its 4 pictures can be read; the first: .*GIF")

    def test_out_is_what_its_name_says(self):
        sheet = ["augment", PICTURES, "--augment", "hflip", "--out"]
        for command, name, possible in ((["embed", MODEL, PICTURES, "--out"], "f.csv", "a folder or a file that ends in .npy"),
                                        (["classify", MODEL, PICTURES, "--out"], "a.jsonl", "a folder"),
                                        (["explain", MODEL, PICTURES, "--out"], "heat.png", "a folder"),
                                        (sheet, "sheet.jpg", "a .png file")):
            result = run(*command, self.data / name)
            self.assertEqual((result.returncode, result.stdout), (2, ""), command)
            self.assertRegex(result.stderr, rf'graft: config: .*--out: expected {possible}, found ".*{name}"')
            self.assertFalse((self.data / name).exists())
        (self.data / "run.d").mkdir()
        for name in ("run.d", "v1.2"):
            self.assertEqual(run("embed", MODEL, PICTURES, "--out", self.data / name, "--quiet").returncode, 0)
            self.assertTrue((self.data / name / "part-0000000.npy").exists())

    def test_augment_leaves_out_what_cannot_be_read_where_asked_to(self):
        photos = self.data / "more photos"
        shutil.copytree(PICTURES, photos)
        (photos / "0.png").write_bytes(b"GIF89a")
        command = ["augment", photos, "--out", self.data / "sheet2.png", "--augment", "hflip", "--pictures", 9, "--columns", 2]
        self.assertEqual(run(*command).returncode, 1)
        found = json.loads(run(*command, "--on-bad-image", "skip", "--json").stdout)
        self.assertEqual((len(found["pictures"]), [b["file"] for b in found["bad_images"]]), (8, [str(photos / "0.png")]))

    def test_export_writes_what_triton_reads(self):
        repository = self.data / "repository"
        result = run("export", self.tuned, "--triton", repository, "--name", "stripes", "--max-batch", 16, "--json")
        self.assertEqual(result.returncode, 0, result.stderr)
        document = json.loads(result.stdout)
        folder = repository / "stripes"
        self.assertEqual([document[key] for key in ("name", "version", "config", "labels", "model")],
                         ["stripes", 1, str(folder / "config.pbtxt"), str(folder / "labels.txt"), str(folder / "1" / "model.pt")])
        self.assertEqual(sorted(str(f.relative_to(repository)) for f in repository.rglob("*") if f.is_file()),
                         ["stripes/1/model.pt", "stripes/config.pbtxt", "stripes/labels.txt"])

        triton, config = triton_config(folder / "config.pbtxt")
        self.assertEqual((config.name, config.backend, config.platform), ("stripes", "pytorch", "pytorch_libtorch"))
        self.assertEqual(config.max_batch_size, 16)
        self.assertTrue(config.HasField("dynamic_batching"))
        (given,), (yielded,) = config.input, config.output
        self.assertEqual((given.name, given.data_type), ("INPUT__0", triton.TYPE_FP32))
        self.assertEqual((yielded.name, yielded.data_type), ("OUTPUT__0", triton.TYPE_FP32))
        self.assertEqual(list(given.dims), document["input_shape"])
        self.assertEqual((folder / yielded.label_filename).read_text(), "across\ndown\n")
        info = json.loads(run("inspect", self.tuned, "--json").stdout)
        self.assertEqual(json.loads(config.parameters["graft_preprocessing"].string_value), info["preprocessing"])

        served, trained = torch.jit.load(str(folder / "1" / "model.pt")).eval(), torch.jit.load(str(self.tuned)).eval()
        for batch in (1, config.max_batch_size):
            x = torch.rand(batch, *given.dims)
            with torch.inference_mode():
                logits = served(x)
                self.assertEqual(list(logits.shape), [batch, *yielded.dims])
                self.assertTrue(torch.equal(logits, trained(x)))

    def test_export_keeps_what_is_there_and_names_after_the_file(self):
        repository = self.data / "other repository"
        command = ["export", self.tuned, "--triton", repository]
        self.assertEqual(run(*command, "--quiet").stderr, "")
        self.assertTrue((repository / "tuned" / "1" / "model.pt").exists())
        again = run(*command)
        self.assertEqual((again.returncode, again.stdout), (2, ""))
        self.assertRegex(again.stderr, r"\Agraft: config: .*tuned/1: this version is there already.*\n\Z")
        self.assertEqual(run(*command, "--replace").returncode, 0)
        self.assertEqual(run(*command, "--model-version", 2).returncode, 0)
        self.assertEqual(run(*command, "--model-version", 3, "--max-batch", 8).returncode, 2)  # the others' configuration
        for bad in (["--name", "a/b"], ["--max-batch", 0], ["--model-version", 0]):
            self.assertEqual(run(*command, *bad).returncode, 2, bad)
        self.assertEqual(sorted(f.name for f in (repository / "tuned").iterdir()), ["1", "2", "config.pbtxt", "labels.txt"])
        self.assertEqual(run("export", self.tuned).returncode, 2)

    def test_augment_draws_a_sheet(self):
        sheet = self.data / "sheet.png"
        command = ["augment", PICTURES, "--out", sheet, "--augment", "hflip,zoom=0.2,crop=0.5,trivial", "--model", MODEL,
                   "--pictures", 3, "--columns", 4]
        document = json.loads(run(*command, "--json").stdout)
        self.assertEqual(len(document["pictures"]), 3)
        pixels = np.asarray(Image.open(sheet)).astype(int)
        self.assertEqual(pixels.shape, (3 * 68 + 4, 4 * 68 + 4, 3))  # cells of 64, gaps of 4
        plain, first, second = (pixels[4:68, 4 + 68 * c:68 + 68 * c] for c in range(3))
        expected = Image.open(document["pictures"][0]).convert("RGB").resize((64, 64), Image.Resampling.BILINEAR)
        np.testing.assert_array_equal(plain, np.asarray(expected))
        self.assertGreater(np.abs(first - second).mean(), 1)
        before = sheet.read_bytes()
        run(*command)
        self.assertEqual(sheet.read_bytes(), before)  # the same draws
        self.assertEqual(run("augment", PICTURES, "--out", sheet, "--augment", "erase=2").returncode, 2)

    def test_inspect(self):
        info = json.loads(run("inspect", self.tuned, "--json").stdout)
        self.assertEqual((info["head"], info["head_kind"], info["classes"]), ("head", "linear", 2))
        self.assertEqual([label["id"] for label in info["labels"]], ["across", "down"])
        self.assertEqual(info["trainable"], 128 * 2 + 2)
        self.assertIn("layer4.0.conv1", run("inspect", MODEL).stdout)

    def test_the_weights_can_be_pinned(self):
        plan = json.loads(run("inspect", self.tuned, "--plan", "--json").stdout)
        self.assertEqual((plan["obstacle"], plan["unfused"], plan["precision"]), (None, [], "float32"))
        self.assertEqual(plan["fused"], plan["convolutions"])
        fused = sum(one["count"] for one in plan["operators"] if one["name"].split("::")[1].strip("_") in ("convolution_pointwise", "convolution"))
        self.assertEqual(fused, plan["convolutions"])
        self.assertIn("convolutions fused", run("inspect", self.tuned, "--plan").stdout)
        self.assertEqual(run("inspect", self.tuned, "--precision", "float32").returncode, 2)  # of what?
        sha256 = json.loads(run("inspect", MODEL, "--json").stdout)["sha256"]
        self.assertEqual(run("inspect", MODEL, "--sha256", sha256).returncode, 0)
        refused = run("classify", MODEL, PICTURES, "--sha256", "0" * 64)
        self.assertEqual((refused.returncode, refused.stdout), (1, ""))
        self.assertIn("graft: mismatch:", refused.stderr)
        self.assertIn(sha256, refused.stderr)

    def test_a_list_of_hashes_pins_whole_files(self):
        listed = self.data / "SHA256SUMS"
        listed.write_text(subprocess.run(["sha256sum", self.tuned.name], cwd=self.data, capture_output=True, text=True).stdout)
        self.assertEqual(run("inspect", self.tuned, "--sha256-manifest", listed).returncode, 0)
        refused = run("inspect", MODEL, "--sha256-manifest", listed)
        self.assertEqual((refused.returncode, refused.stdout), (1, ""))
        self.assertIn("graft: mismatch:", refused.stderr)

    def test_another_preprocessing_can_be_asked_for(self):
        info = json.loads(run("inspect", MODEL, "--json", "--preprocessing", "caffe").stdout)
        self.assertEqual((info["input_shape"], info["preprocessing"]["channels"]), ([1, 3, 224, 224], "bgr"))

    def test_case_75_pictures_outside_of_all_classes_are_told_of(self):
        stray = self.data / "val" / "stray.png"
        stray.write_bytes((self.data / "val" / "down" / "0.png").read_bytes())
        self.addCleanup(stray.unlink)
        result = run("evaluate", self.tuned, "--data", self.data / "val")
        self.assertEqual(result.returncode, 1)
        self.assertIn(str(stray), result.stderr)
        result = run("evaluate", self.tuned, "--data", self.data / "val", "--on-bad-image", "skip")
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertIn(f"left out: {stray}: in no class's folder\n", result.stderr)

    def test_names_with_line_ends_are_not_listed_in_lines(self):
        folder = self.data / "lines"
        folder.mkdir()
        self.addCleanup(shutil.rmtree, folder)
        shutil.copy(self.data / "val" / "down" / "0.png", folder / "a\nb.png")
        result = run("embed", MODEL, folder, "--out", self.data / "lines_out")
        self.assertEqual(result.returncode, 1)
        self.assertIn("graft: format: expected names without line ends", result.stderr)
        self.assertEqual(run("embed", MODEL, folder, "--out", self.data / "lines.npy").returncode, 0)

    def test_bad_images_fail_or_are_skipped_and_reported(self):
        bad = self.data / "val" / "down" / "bad.gif"
        bad.write_bytes(b"GIF89a")
        self.addCleanup(bad.unlink)
        result = run(*self.finetune, "--epochs", 1)
        self.assertEqual(result.returncode, 1)
        self.assertRegex(result.stderr, r"graft: format: .*bad\.gif: expected JPEG, PNG or BMP, found GIF\n")
        result = run(*self.finetune, "--epochs", 1, "--on-bad-image", "skip", "--json")
        self.assertEqual([b["file"] for b in json.loads(result.stdout)["bad_images"]], [str(bad)])

    def test_case_81_a_class_that_training_or_the_model_does_not_know_is_refused(self):
        extra = self.data / "val" / "slanted" / "inner"
        extra.mkdir(parents=True)
        self.addCleanup(shutil.rmtree, extra.parent)
        self.assertEqual(run(*self.finetune, "--epochs", 1).returncode, 0)  # an empty folder is no class
        (extra / "0.png").write_bytes((self.data / "val" / "down" / "0.png").read_bytes())
        for command in ([*self.finetune, "--epochs", 1], [*self.finetune, "--on-bad-image", "skip"], ["evaluate", self.tuned, "--data", self.data / "val"],
                        ["compare", self.tuned, self.tuned, "--data", self.data / "val"],
                        ["calibrate", self.tuned, "--data", self.data / "val", "--out", self.data / "never.pt"]):
            result = run(*command)
            self.assertEqual((result.returncode, result.stdout), (1, ""), (command, result.stderr))
            self.assertRegex(result.stderr, r'\Agraft: mismatch: .*val: expected folders for the 2 known classes only, found "slanted" as well\n\Z')

    def test_the_feature_cache_changes_nothing_but_the_time(self):
        cache, augmented = self.data / "features", ["--augment", "zoom=0.2", "--augmented-variants", 1]

        def finetune(*options):
            result = run(*self.finetune, "--epochs", 3, "--lr", 0.01, "--batch", 4, "--json", *options)
            self.assertEqual(result.returncode, 0, result.stderr)
            return json.loads(result.stdout)["epochs"], result.stderr

        def compare(found, expected):
            for epoch, wanted in zip(found, expected, strict=True):
                for key in wanted.keys() - {"seconds"}:
                    self.assertAlmostEqual(epoch[key], wanted[key], delta=1e-5, msg=key)

        expected, _ = finetune("--feature-cache", "off")
        for options in ([], ["--feature-cache", cache], ["--feature-cache", cache]):
            found, messages = finetune(*options)
            compare(found, expected)
            self.assertNotIn("feature cache", messages)
        [file] = cache.iterdir()
        written = file.read_bytes()
        file.write_bytes(written[:600] + bytes(100) + written[700:])
        for options, warning in ((["--feature-cache", cache], f"{file} is damaged"), (["--feature-cache-size", "0"], "no room")):
            found, messages = finetune(*options)
            compare(found, expected)
            self.assertIn(warning, messages)
        compare(finetune(*augmented)[0], finetune(*augmented, "--feature-cache", "off")[0])
        self.assertEqual(run(*self.finetune, "--feature-cache", file).returncode, 1)

    def test_case_100_bad_usage_does_no_work(self):
        out = self.data / "never.pt"
        good = ["finetune", MODEL, "--train", self.data / "train", "--val", self.data / "val", "--out", out]
        for bad in (["--nonsense"], ["--epochs", 1, "--epochs", 2], ["--epochs", "99999999999999999999"], ["--lr", "nan"],
                    ["--lr", "1,5"], ["--lr", "inf"], ["--epochs", 0], ["--epochs", "two"], ["--optimizer", "lion"],
                    ["--head", "cnn"], ["--augment", "zoom=2"], ["--freeze", "half"], ["--freeze", "until:nowhere"],
                    ["--cut", "nowhere"], ["--device", "tpu"], ["--bn", "off"], ["--feature-cache-size", "-1"], ["--augmented-variants", "-1"],
                    ["extra"]):
            result = run(*good, *bad)
            self.assertEqual(result.returncode, 2, (bad, result.stderr))
            self.assertRegex(result.stderr, r"\Agraft: config: .*\n\Z", bad)
            self.assertEqual(result.stdout, "")
        self.assertEqual(run("finetune", MODEL).returncode, 2)
        self.assertEqual(run().returncode, 2)
        self.assertFalse(out.exists())

    def test_usage_errors_are_one_line_that_names_what_may_have_been_meant(self):
        for arguments, message in ((["clasify", "x"], "clasify: unknown command; did you mean classify?"),
                                   (["zebra"], "zebra: unknown command (graft --help"),
                                   (["help", "finetun"], "finetun: unknown command; did you mean finetune?"),
                                   (["classify", MODEL, "--topk", 5, PICTURES], "classify: unknown option --topk; did you mean --top-k?"),
                                   (["classify", MODEL, "--topk=5", PICTURES], "classify: unknown option --topk; did you mean --top-k?"),
                                   (["finetune", MODEL, "--trian", "t", "--val", "v", "--out", "o"], "unknown option --trian; did you mean --train?"),
                                   (["inspect", MODEL, "--zulu", "--alpha"], "inspect: unknown options --zulu --alpha (graft inspect --help)"),
                                   (["inspect", MODEL, "two", "one"], "inspect: unexpected arguments two one"),
                                   (["classify"], "classify: MODEL is required"), ([], "subcommand is required"),
                                   (["finetune", MODEL, "--batch", "zero"], "finetune: --batch: ")):
            result = run(*arguments)
            self.assertEqual((result.returncode, result.stdout), (2, ""), arguments)
            self.assertRegex(result.stderr, r"\Agraft: config: .*\n\Z")
            self.assertIn(message, result.stderr)

    def test_help_is_a_command_too(self):
        for arguments, same in ((["help"], ["--help"]), (["help", "classify"], ["classify", "--help"])):
            result = run(*arguments)
            self.assertEqual((result.returncode, result.stdout, result.stderr), (0, run(*same).stdout, ""))

    def test_errors_are_one_line_with_a_code(self):
        result = run("classify", self.data / "missing.pt", PICTURES)
        self.assertEqual(result.returncode, 1)
        self.assertRegex(result.stderr, r"\Agraft: io: .*missing\.pt: cannot open: No such file or directory\n\Z")
        self.assertEqual(run("classify", MODEL, self.data / "nowhere").returncode, 1)

    def test_an_unwritable_output_is_found_before_training(self):
        result = run(*self.finetune[:-1], "/proc/nowhere/out.pt")
        self.assertEqual(result.returncode, 1)
        self.assertIn("graft: io: /proc/nowhere/out.pt", result.stderr)
        self.assertNotIn("epoch", result.stderr)

    def test_case_101_closed_standard_output(self):
        read, write = os.pipe()
        os.close(read)
        result = subprocess.run([GRAFT, "inspect", MODEL], stdout=write, stderr=subprocess.PIPE)
        os.close(write)
        self.assertEqual(result.returncode, 1)
        for command in (["inspect", MODEL, "--json"], ["--help"], ["--version"], ["help", "classify"], ["classify", "--help"], ["manual"],
                        ["completion", "bash"], ["classify", MODEL, PICTURES]):
            with open("/dev/full", "w") as full:
                result = subprocess.run([GRAFT, *command], stdout=full, stderr=subprocess.PIPE, text=True)
            self.assertEqual(result.returncode, 1, command)
            self.assertRegex(result.stderr, r"\Agraft: io: cannot write to standard output: .*\n\Z")
            closed = subprocess.run(["sh", "-c", '"$@" >&-', "sh", GRAFT, *command], stderr=subprocess.PIPE)
            self.assertEqual(closed.returncode, 1, command)

    def test_progress_is_drawn_on_a_terminal(self):
        leader, follower = pty.openpty()
        subprocess.run([GRAFT, *map(str, self.finetune), "--epochs", "2", "--batch", "4"], stdout=subprocess.DEVNULL, stderr=follower, check=True)
        os.close(follower)
        shown = os.read(leader, 1 << 20).decode()
        os.close(leader)
        self.assertRegex(shown, r"\repoch 1/2 \[")
        self.assertRegex(shown, r" \d+\.\d/s ")
        self.assertRegex(shown.split("\r")[1], "-:-- left")  # nothing is known from the first step
        self.assertRegex(shown, r"[0-9]:[0-9][0-9] left")
        self.assertRegex(shown, r"epoch 2/2  loss [\d.]+  accuracy .* val loss")

    def test_names_that_are_not_utf8(self):
        root = self.data / "latin1"
        for part in ("train", "val"):
            shutil.copytree(self.data / part, root / part)
        down = os.fsencode(root / "val" / "down")
        shutil.copy(self.data / "val" / "down" / "0.png", down + b"/gr\xfcn.png")
        # Pictures may have them: JSON shows U+FFFD, text the bytes.
        found = json.loads(run("classify", self.tuned, root / "val" / "down", "--json", "--top-k", 1).stdout)["predictions"]
        self.assertEqual([p["top"][0]["id"] for p in found], ["down"] * 7)
        self.assertTrue(found[-1]["file"].endswith("/gr\ufffdn.png"), found[-1]["file"])
        text = subprocess.run([GRAFT, "classify", self.tuned, root / "val" / "down", "--top-k", "1"], capture_output=True, check=True).stdout
        self.assertIn(b"/gr\xfcn.png\n", text)
        # A run that leaves such a one out goes on with its name.
        with open(os.fsencode(root / "train" / "down") + b"/gr\xfcn.png", "w") as broken:
            broken.write("no picture")
        for resumed_at in (0, 2):
            out = run("finetune", MODEL, "--train", root / "train", "--val", root / "val", "--out", root / "out.pt", "--epochs", 2, "--batch", 4,
                      "--on-bad-image", "skip", "--checkpoint-dir", root / "run", "--resume", "--json")
            self.assertEqual(out.returncode, 0, out.stderr)
            self.assertEqual(json.loads(out.stdout)["resumed_at"], resumed_at)
            self.assertTrue(json.loads(out.stdout)["bad_images"][0]["file"].endswith("/gr\ufffdn.png"))
        # Classes may not: no file could say what they are called.
        for part in ("train", "val"):
            os.rename(root / part / "down", os.fsencode(root / part) + b"/gr\xfcn")
        refused = run("finetune", MODEL, "--train", root / "train", "--val", root / "val", "--out", root / "never.pt")
        self.assertEqual((refused.returncode, refused.stdout), (1, ""))
        self.assertRegex(refused.stderr, r'\Agraft: format: \S*train: expected classes with names in UTF-8, found "gr\\xfcn"\n\Z')
        self.assertFalse((root / "never.pt").exists())

    def test_results_take_the_place_of_the_bar(self):
        def shown(*arguments):
            leader, follower = pty.openpty()
            program = subprocess.Popen([GRAFT, *map(str, arguments)], stdout=follower, stderr=follower)
            os.close(follower)
            text = b""
            with contextlib.suppress(OSError):  # the end, on Linux
                while part := os.read(leader, 1 << 16):
                    text += part
            os.close(leader)
            self.assertEqual(program.wait(), 0)
            return text.decode()

        def seen(text):
            """The lines as a terminal shows them in the end: this needs no more than it does here."""
            lines = []
            for line in text.split("\r\n"):
                line = re.sub(r"\x1b\[\d*m", "", line)
                lines.append(line.rsplit("\r", 1)[-1].removeprefix("\x1b[K").removesuffix("\x1b[K"))
            return [line for line in lines if line]

        def bars(text):
            return re.findall(r"\r(\w+) \[", text)

        pictures = sorted(pathlib.Path(PICTURES).iterdir())
        classified = shown("classify", MODEL, *pictures, "--batch", 2, "--top-k", 1)
        self.assertIn("classify", bars(classified))
        expected = run("classify", MODEL, *pictures, "--batch", 2, "--top-k", 1).stdout.splitlines()
        self.assertEqual(seen(classified)[:-1], expected)
        self.assertRegex(seen(classified)[-1], r"^8 pictures, ")

        photos = self.data / "with_broken"
        shutil.copytree(PICTURES, photos)
        (photos / "m.png").write_text("no picture")
        explained = shown("explain", MODEL, photos, "--out", self.data / "over", "--on-bad-image", "skip")
        self.assertIn("explain", bars(explained))
        self.assertEqual(len(seen(explained)), 8 + 1 + 1)
        for line in seen(explained)[:-1]:
            self.assertRegex(line, r"^left out: |\.png: [\w ]+ \d\.\d{4}$")

    def test_help_and_version(self):
        self.assertEqual(run("--version").returncode, 0)
        self.assertIn("--freeze", run("finetune", "--help").stdout)


class Examples(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.scratch = tempfile.TemporaryDirectory()
        cls.data = pathlib.Path(cls.scratch.name)
        make_folder(cls.data, per_class=10)

    @classmethod
    def tearDownClass(cls):
        cls.scratch.cleanup()

    def example(self, name, *arguments):
        result = subprocess.run([str(EXAMPLES / name), *map(str, arguments)], capture_output=True, text=True)
        self.assertEqual(result.returncode, 0, result.stderr)
        return result.stdout

    def test_classify(self):
        self.assertIn("(heart, heart, ", self.example("classify", MODEL, PICTURES + "/heart.png"))

    def test_fine_tune(self):
        text = self.example("fine_tune", MODEL, self.data / "train", self.data / "val", self.data / "a.pt", 3)
        self.assertIn("unchanged", text)
        self.assertIn("100.00 %", text)

    def test_fine_tune_folder(self):
        text = self.example("fine_tune_folder", MODEL, self.data, self.data / "b.pt", 2, 3)
        self.assertIn("features of 4 new pictures: 128 values each", text)
        self.assertEqual(len(torch.jit.load(str(self.data / "b.pt"))(torch.zeros(1, 3, 64, 64))[0]), 2)

    def test_extract_features(self):
        self.example("extract_features", MODEL, PICTURES, self.data / "f.npy", "layer2")
        self.assertEqual(np.load(self.data / "f.npy").shape, (8, 48))

    def test_custom_head_runs_in_python_without_its_class(self):
        saved = self.data / "custom.pt"
        text = self.example("custom_head", MODEL, self.data / "train", self.data / "val", saved, 2)
        self.assertIn("unchanged", text)
        check = subprocess.run([sys.executable, str(ROOT / "models" / "check_in_python.py"), str(saved), str(self.data / "val"),
                                "--graft", GRAFT, "--tolerance", "1e-4"], capture_output=True, text=True)
        self.assertEqual(check.returncode, 0, check.stdout + check.stderr)

        net = torch.jit.load(str(saved))
        names = dict(net.named_parameters()).keys() | dict(net.named_buffers()).keys()
        self.assertLessEqual({"head.squeeze.weight", "head.average_bn.running_var", "head.fc.bias"}, names)
        x = torch.rand(5, 3, 64, 64)
        with torch.no_grad():
            self.assertEqual(net(x).shape, (5, 2))
            self.assertTrue(torch.allclose(net(x)[2:3], net(x[2:3]), atol=1e-4), "evaluation does not look at the batch")
            net.head.train()
            counted = net.head.squeeze_bn.num_batches_tracked.item()
            self.assertFalse(torch.equal(net(x), net(x)), "dropout is on")
            self.assertEqual(net.head.squeeze_bn.num_batches_tracked.item(), counted + 2)

    def test_compare_layers(self):
        text = self.example("compare_layers", MODEL, self.data / "train", self.data / "val", 1)
        self.assertEqual(re.findall(r"(\d) of 4 stages", text), ["4", "3", "2", "1", "0"])


if __name__ == "__main__":
    unittest.main()
