#!/usr/bin/env python3
"""What a run leaves to be read: the report in a browser (headless Chromium), TensorBoard's event files read by TensorBoard,
the log of epochs, and the comparison of runs."""
import csv
import json
import pathlib
import shutil
import subprocess
import tempfile
import time
import unittest

import numpy as np
from PIL import Image

from program import GRAFT, MODEL, run

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
try:
    from axe_playwright_python.sync_playwright import Axe
    from playwright.sync_api import sync_playwright
except ImportError:
    sync_playwright = None
try:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
except ImportError:
    EventAccumulator = None

EPOCHS = 10
PAGES = ("slow.html", "compared.html", "sweep.html", "rates.html")
# Folders may be called anything.
CLASSES = ("<img src=x onerror=alert(1)>", "it's \"down\" & <b>out")


def draw_folder(root, part, per_class):
    """Stripes across and stripes down, with noise, as photographs are large."""
    rng = np.random.default_rng(len(part))
    for turned, name in enumerate(CLASSES):
        (root / part / name).mkdir(parents=True)
        for i in range(per_class):
            waves = np.sin(np.arange(240) * rng.uniform(0.1, 0.2) + rng.uniform(0, 6))[:, None] * np.ones(240)
            grey = 120 + 80 * (waves.T if turned else waves)
            pixels = grey[..., None] + rng.uniform(-40, 40, (240, 240, 3))
            Image.fromarray(pixels.astype(np.uint8)).save(root / part / name / f"{i}.jpg", quality=90)


def setUpModule():
    global SCRATCH, ROOT, RUNS
    SCRATCH = tempfile.TemporaryDirectory()
    ROOT = pathlib.Path(SCRATCH.name)
    draw_folder(ROOT, "train", 20)
    draw_folder(ROOT, "val", 75)
    RUNS = {}
    for name, rate, log in (("slow", 0.001, "csv"), ("fast", 0.01, "jsonl")):
        result = run("finetune", MODEL, "--train", ROOT / "train", "--val", ROOT / "val", "--out", ROOT / f"{name}.pt", "--epochs", EPOCHS,
                     "--lr", rate, "--batch", 8, "--augment", "hflip", "--report", ROOT / f"{name}.html", "--tensorboard", ROOT / f"board-{name}",
                     "--log", ROOT / f"{name}.{log}", "--json", "--quiet")
        assert result.returncode == 0, result.stderr
        RUNS[name] = json.loads(result.stdout)


def tearDownModule():
    SCRATCH.cleanup()


class Files(unittest.TestCase):
    def test_log(self):
        for name, rows in (("slow", list(csv.DictReader((ROOT / "slow.csv").read_text().splitlines()))),
                           ("fast", [json.loads(line) for line in (ROOT / "fast.jsonl").read_text().splitlines()])):
            self.assertEqual([int(row["epoch"]) for row in rows], list(range(1, EPOCHS + 1)))
            for row, epoch in zip(rows, RUNS[name]["epochs"]):
                for key in ("loss", "accuracy", "val_loss", "val_accuracy", "learning_rate", "seconds"):
                    self.assertEqual(float(row[key]), epoch[key])

    def run_until_epoch(self, number, *options):
        """Ends a long run with SIGTERM once its log has this many epochs; the log's lines."""
        log = ROOT / "stopped.csv"
        process = subprocess.Popen([GRAFT, "finetune", MODEL, "--train", ROOT / "train", "--val", ROOT / "train", "--out", ROOT / "stopped.pt", "--quiet",
                                    "--epochs", "100000", "--checkpoint-dir", ROOT / "checkpoints", "--log", log, *options])
        deadline = time.monotonic() + 120
        while not log.exists() or len(log.read_text().splitlines()) <= number:
            self.assertLess(time.monotonic(), deadline)
            self.assertIsNone(process.poll())
            time.sleep(0.02)
        process.terminate()
        self.assertEqual(process.wait(), 143)
        return log.read_text().splitlines()

    def test_the_log_of_a_run_that_goes_on_keeps_the_epochs_before(self):
        before = self.run_until_epoch(2)
        after = self.run_until_epoch(len(before) + 2, "--resume")
        self.assertEqual(after[:len(before)], before)
        self.assertEqual([int(line.split(",")[0]) for line in after[1:]], list(range(1, len(after))))

    def test_the_document_beside_the_page_gives_the_page(self):
        document = json.loads((ROOT / "slow.json").read_text())
        self.assertEqual(document["history"]["epochs"], RUNS["slow"]["epochs"])
        settings = {setting["name"]: setting["value"] for setting in document["settings"]}
        self.assertEqual((settings["lr"], settings["augment"], settings["head"]), ("0.001", "hflip", "linear"))
        self.assertEqual(document["title"], f"models/graft_mini.pt fine-tuned on {ROOT.name}/train")
        for option in ("report", "no-verify"):  # what changes no result, and what was not given and has no default
            self.assertNotIn(option, settings)
        hashes = {one["name"]: one["value"] for one in document["hashes"]}
        self.assertEqual(hashes["the model after training"], json.loads(run("inspect", ROOT / "slow.pt", "--json").stdout)["sha256"])
        self.assertEqual(len({hashes[of] for of in ("the model before training", "the model after training", "training data", "validation data")}), 4)
        self.assertEqual(run("report", ROOT / "slow.json", "--out", ROOT / "again.html").returncode, 0)
        self.assertEqual((ROOT / "again.html").read_bytes(), (ROOT / "slow.html").read_bytes())

    def test_evaluate_writes_one_too(self):
        result = run("evaluate", ROOT / "slow.pt", "--data", ROOT / "val", "--report", ROOT / "evaluated.html", "--json")
        scores = json.loads((ROOT / "evaluated.json").read_text())["evaluations"][0]["evaluation"]
        self.assertEqual(scores["confusion"], json.loads(result.stdout)["confusion"])
        self.assertEqual(json.loads(result.stdout)["top_losses"], [])  # not asked for
        self.assertTrue("<h3>Classes</h3>" in (ROOT / "evaluated.html").read_text())

    def test_what_cannot_be_written_is_said_before_work_begins(self):
        finetune = ["finetune", MODEL, "--train", ROOT / "train", "--val", ROOT / "val", "--out", ROOT / "not.pt"]
        for option, value, status, message in (("--report", ROOT / "nowhere" / "r.html", 1, "nowhere/r.html"),
                                               ("--report", ROOT / "r.json", 2, "--report: expected a .html file"),
                                               ("--log", ROOT / "log.txt", 2, "--log: expected a .csv or .jsonl file"),
                                               ("--tensorboard", ROOT / "slow.pt" / "x", 1, "slow.pt/x")):
            result = run(*finetune, option, value)
            self.assertEqual(result.returncode, status, result.stderr)
            self.assertIn(message, result.stderr)
            self.assertFalse((ROOT / "not.pt").exists())
        (ROOT / "other.json").write_text("{}")
        result = run("report", ROOT / "slow.json", "--out", ROOT / "page.pdf")
        self.assertEqual(result.returncode, 2, result.stderr)
        self.assertIn("--out: expected a .html file", result.stderr)
        result = run("report", ROOT / "slow.json", ROOT / "other.json", "--out", ROOT / "not.html")
        self.assertEqual(result.returncode, 1)
        self.assertIn("graft: format: other: expected a report's JSON", result.stderr)
        self.assertRegex(run("report", ROOT / "nothing.json", "--out", ROOT / "not.html").stderr, r"graft: io: .*nothing\.json: .*: No such file or directory\n")
        self.assertRegex(run("report", ROOT, "--out", ROOT / "not.html").stderr, "graft: io: .*: Is a directory\n")

    def test_what_is_there_is_not_written_over(self):
        """Neither what the run reads or writes otherwise, nor a document that is no report."""
        folder = ROOT / "kept"
        (folder / "inner").mkdir(parents=True)
        model = folder / "m.json"
        shutil.copy(MODEL, model)
        config = folder / "run.json"
        config.write_text(json.dumps({"epochs": 1}))
        notes = folder / "notes.json"
        notes.write_text('{"mine": 1}')
        linked = folder / "linked.html"
        linked.symlink_to(config)
        train = ["finetune", MODEL, "--train", ROOT / "train", "--val", ROOT / "val", "--epochs", 1]
        measure = ["evaluate", model, "--data", ROOT / "val"]
        x, y, other = folder / "x.pt", folder / "y.html", folder / "inner" / ".."
        for command in ([*train, "--config", config, "--out", x, "--report", folder / "run.html"],
                        [*train, "--config", config, "--out", x, "--report", other / "run.html"],
                        [*train, "--config", config, "--out", config],
                        [*train, "--out", y, "--report", y],
                        [*train, "--config", config, "--out", x, "--report", linked],
                        [*train, "--out", folder / "y.json", "--report", y],
                        [*train, "--out", folder / "y.csv", "--log", folder / "y.csv"],
                        [*train, "--out", x, "--report", folder / "notes.html"],
                        [*measure, "--report", folder / "m.html"],
                        [*measure, "--predictions", model],
                        [*measure, "--predictions", folder / "y.json", "--report", y],
                        ["sweep", *train[1:], "--freeze-points", "all", "--out", y, "--report", y],
                        ["lr-find", MODEL, "--train", ROOT / "train", "--val", ROOT / "val", "--report", folder / "y.pdf"],
                        ["embed", MODEL, folder, "--out", folder],
                        ["explain", MODEL, folder, "--out", folder],
                        ["report", ROOT / "slow.json", "--out", ROOT / "slow.json"]):
            result = run(*command)
            self.assertEqual(result.returncode, 2, (command, result.stderr))
            self.assertRegex(result.stderr, "--(out|report|log|predictions): (would write over|expected a .html file)", command)
        self.assertEqual((config.read_text(), notes.read_text()), (json.dumps({"epochs": 1}), '{"mine": 1}'))
        self.assertEqual(model.read_bytes(), pathlib.Path(MODEL).read_bytes())
        self.assertEqual({path.name for path in folder.iterdir()}, {"m.json", "run.json", "notes.json", "linked.html", "inner"})

    def test_a_report_may_be_written_anew_and_a_page_alone_has_no_document(self):
        data = ["--data", ROOT / "val", "--report", ROOT / "again" / "e.html", "--quiet"]
        (ROOT / "again").mkdir()
        for _ in range(2):
            result = run("evaluate", ROOT / "slow.pt", *data)
            self.assertEqual(result.returncode, 0, result.stderr)
        shutil.copy(ROOT / "slow.pt", ROOT / "again" / "own.pt")
        result = run("calibrate", ROOT / "again" / "own.pt", "--data", ROOT / "val", "--out", ROOT / "again" / "own.pt")
        self.assertEqual(result.returncode, 0, result.stderr)
        config = ROOT / "again" / "rates.json"
        config.write_text(json.dumps({"steps": 20}))
        result = run("lr-find", MODEL, "--train", ROOT / "train", "--val", ROOT / "val", "--config", config, "--report", ROOT / "again" / "rates.html")
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertEqual(config.read_text(), json.dumps({"steps": 20}))


@unittest.skipUnless(EventAccumulator, "the Python package tensorboard is not installed")
class TensorBoard(unittest.TestCase):
    def read(self, folder):
        accumulator = EventAccumulator(str(folder), size_guidance={"scalars": 0})
        accumulator.Reload()
        return {tag: accumulator.Scalars(tag) for tag in accumulator.Tags()["scalars"]}

    def test_reads_every_epoch_and_step(self):
        train, validation = (self.read(ROOT / "board-slow" / part) for part in ("train", "validation"))
        for scalars, tag, key in ((train, "epoch_loss", "loss"), (train, "epoch_accuracy", "accuracy"), (train, "epoch_learning_rate", "learning_rate"),
                                  (validation, "epoch_loss", "val_loss"), (validation, "epoch_accuracy", "val_accuracy")):
            self.assertEqual([event.step for event in scalars[tag]], list(range(EPOCHS)))
            for event, epoch in zip(scalars[tag], RUNS["slow"]["epochs"]):
                self.assertAlmostEqual(event.value, epoch[key], delta=1e-6 * abs(epoch[key]) + 1e-12)  # float32
                self.assertLess(abs(event.wall_time - time.time()), 3600)
        for tag in ("batch_loss", "batch_accuracy", "batch_images_per_second"):
            self.assertEqual([event.step for event in train[tag]], list(range(EPOCHS * 5)))  # 40 pictures, 8 at a time

    def test_a_changed_byte_is_seen(self):
        """That the checksums are right means something only if the reader looks at them."""
        source = next((ROOT / "board-slow" / "validation").iterdir())
        damaged = bytearray(source.read_bytes())
        damaged[-6] ^= 1
        (ROOT / "damaged").mkdir()
        (ROOT / "damaged" / source.name).write_bytes(damaged)
        self.assertEqual(len(self.read(ROOT / "damaged")["epoch_loss"]), EPOCHS - 1)


def luminance(colour):
    """WCAG 2.2's relative luminance of "rgb(r, g, b)"."""
    parts = [float(part) / 255 for part in colour[colour.index("(") + 1:-1].split(",")[:3]]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(a, b):
    light, dark = sorted((luminance(a), luminance(b)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@unittest.skipUnless(CHROMIUM, "Chromium is not installed")
@unittest.skipUnless(sync_playwright, "the Python packages playwright and axe-playwright-python are not installed")
class Browser(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        assert run("report", ROOT / "slow.json", ROOT / "fast.json", "--out", ROOT / "compared.html").returncode == 0
        data = [MODEL, "--train", ROOT / "train", "--val", ROOT / "val", "--batch", 8]
        assert run("lr-find", *data, "--report", ROOT / "rates.html").returncode == 0
        assert run("sweep", *data, "--freeze-points", "all,none", "--heads", "linear/mlp:8", "--learning-rates", "1e-3,3e-3,1e-2", "--epochs", 2,
                   "--report", ROOT / "sweep.html").returncode == 0
        cls.playwright = sync_playwright().start()
        cls.browser = cls.playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])

    @classmethod
    def tearDownClass(cls):
        cls.browser.close()
        cls.playwright.stop()

    def open(self, name, width=1280, scheme="light", **options):
        """The page, with everything that it says or asks for noted."""
        context = self.browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme, **options)
        self.addCleanup(context.close)
        context.set_default_timeout(300_000)  # milliseconds: the machine may be busy with other tests
        page = context.new_page()
        page.noted = []
        page.on("console", lambda message: page.noted.append(message.text))
        page.on("pageerror", lambda error: page.noted.append(str(error)))
        page.on("dialog", lambda dialog: (page.noted.append("a dialog"), dialog.dismiss()))
        page.on("request", lambda request: request.url.startswith(("file:", "data:")) or page.noted.append(request.url))
        page.goto((ROOT / name).as_uri())
        return page

    def test_opens_without_an_error_and_fetches_nothing(self):
        for name in PAGES:
            self.assertLess((ROOT / name).stat().st_size, 5_000_000)
            seconds = []
            for _ in range(3):
                page = self.open(name)
                seconds.append(page.evaluate("performance.getEntriesByType('navigation')[0].loadEventEnd") / 1000)
                self.assertEqual(page.noted, [])
            self.assertGreater(min(seconds), 0)
            self.assertLess(min(seconds), 1)
            self.assertEqual(page.locator("style").count(), 1)
            self.assertNotEqual(page.evaluate("getComputedStyle(document.querySelector('.card')).borderRadius"), "0px")  # the policy lets it in

    def test_pictures_are_whole(self):
        page = self.open("slow.html")
        sizes = page.evaluate("[...document.images].map((image) => [image.complete, image.naturalWidth, image.naturalHeight])")
        self.assertEqual(sizes, 24 * [[True, 240, 240]] + [[True, 8 * 68 + 4, 4 * 68 + 4]])  # 64 pixels are what this network sees

    def test_names_are_shown_as_text(self):
        page = self.open("slow.html")
        for name in CLASSES:
            self.assertGreater(page.get_by_text(name, exact=True).count(), 1)
        self.assertEqual(page.locator("main b, img[src=x]").count(), 0)

    def test_sections(self):
        page = self.open("slow.html")
        self.assertEqual(page.locator("main h2").all_inner_texts()[:3], ["Overview", "Curves", "Evaluation: validation data"])
        self.assertEqual(page.locator("main h2").all_inner_texts()[3:5], ["Top losses", "Augmentation"])
        self.assertEqual(page.locator(".example").count(), 12)
        self.assertEqual(page.locator(".example img").count(), 24)  # each with its heat map
        self.assertEqual(page.locator("svg.reliability").count(), 1)
        links = page.locator("nav a")
        for i in range(links.count()):
            self.assertEqual(page.locator(links.nth(i).get_attribute("href")).inner_text(), links.nth(i).inner_text())

    def column(self, table, number):
        return table.locator(f"tbody tr > *:nth-child({number})").all_inner_texts()

    def test_tables_sort_by_click_and_by_keyboard(self):
        page = self.open("slow.html")
        page.get_by_text("All epochs as a table").click()
        table = page.locator("details table.sortable")
        loss = table.locator("th").nth(1)
        self.assertEqual(loss.inner_text(), "loss")
        values = self.column(table, 2)
        self.assertIsNone(loss.get_attribute("aria-sort"))
        loss.get_by_role("button").click()
        self.assertEqual(loss.get_attribute("aria-sort"), "ascending")
        self.assertEqual(self.column(table, 2), sorted(values, key=float))
        loss.get_by_role("button").press("Enter")
        self.assertEqual(loss.get_attribute("aria-sort"), "descending")
        self.assertEqual(self.column(table, 2), sorted(values, key=float, reverse=True))
        epoch = table.locator("th").nth(0)
        epoch.get_by_role("button").press("Space")
        self.assertIsNone(loss.get_attribute("aria-sort"))
        self.assertEqual(self.column(table, 2), values)
        self.assertEqual([text.split()[0] for text in self.column(table, 1)], [str(i + 1) for i in range(EPOCHS)])

    def test_charts_are_read_with_the_pointer_and_the_keyboard(self):
        page = self.open("slow.html")
        epochs = RUNS["slow"]["epochs"]
        plot, legend = page.locator("#loss .plot"), page.locator("#loss .legend .value")
        self.assertEqual(legend.all_inner_texts(), [f"{epochs[-1][key]:.4f}" for key in ("loss", "val_loss")])
        plot.focus()
        plot.press("Home")
        plot.press("ArrowRight")
        self.assertEqual(plot.get_attribute("role"), "slider")
        self.assertEqual(plot.get_attribute("aria-valuetext"), f"epoch 2: training {epochs[1]['loss']:.4f}, validation {epochs[1]['val_loss']:.4f}")
        self.assertEqual(legend.all_inner_texts(), [f"{epochs[1][key]:.4f}" for key in ("loss", "val_loss")])
        box = plot.bounding_box()
        page.mouse.move(box["x"] + box["width"] * 0.97, box["y"] + 50)
        self.assertEqual(page.locator("#accuracy .at").inner_text(), f"epoch {EPOCHS}")  # the others follow

    def test_nothing_but_tables_scrolls_sideways_on_a_phone(self):
        for name in PAGES:
            page = self.open(name, width=360)
            page.evaluate("for (const details of document.querySelectorAll('details')) details.open = true")
            self.assertEqual(page.evaluate("document.documentElement.scrollWidth"), 360, name)
            self.assertEqual(page.evaluate("""[...document.querySelectorAll('body *')].filter((element) => !element.closest('.scroll, .hidden, .skip') &&
                element.getBoundingClientRect().right > innerWidth).map((element) => element.outerHTML.slice(0, 80))"""), [])

    def test_no_word_of_a_tile_is_broken(self):
        for width in (320, 360, 400, 640, 700, 900, 1280):
            page = self.open("slow.html", width=width)
            for media in ("screen", "print"):
                page.emulate_media(media=media)
                self.assertEqual(page.evaluate("""[...document.querySelectorAll('.tiles .figure')].filter((figure) => {
                    const words = document.createRange();
                    words.selectNodeContents(figure);
                    const lines = new Set([...words.getClientRects()].map((box) => box.top)).size;
                    return lines > figure.textContent.trim().split(/\\s+/).length || figure.scrollWidth > figure.clientWidth;
                }).map((figure) => figure.textContent)"""), [], (width, media))

    def test_the_column_that_stays_does_not_cover_the_lines_between_rows(self):
        """It is drawn on its own: lines must be its cells' and not the table's, and rows must be whole pixels high."""
        for name in PAGES:
            for width in (360, 1280):
                page = self.open(name, width=width)
                page.evaluate("for (const details of document.querySelectorAll('details')) details.open = true")
                found = page.evaluate("""[...document.querySelectorAll('tbody th')].map((cell) => [getComputedStyle(cell).position,
                    getComputedStyle(cell.closest('table')).borderCollapse, cell.getBoundingClientRect().height % 1])""")
                self.assertEqual([one for one in found if one != ["sticky", "separate", 0]], [], (name, width))

    def test_is_accessible_in_light_and_dark(self):
        """By axe-core: names, structure, contrast of texts (WCAG 2.2 AA). Beside it the contrast of lines."""
        for name in PAGES:
            for scheme in ("light", "dark"):
                page = self.open(name, scheme=scheme)
                page.evaluate("for (const details of document.querySelectorAll('details')) details.open = true")
                found = Axe().run(page, options={"runOnly": ["wcag2a", "wcag2aa", "wcag21aa", "wcag22aa", "best-practice"]})
                self.assertEqual(found.violations_count, 0, found.generate_report())
                ground = page.evaluate("getComputedStyle(document.querySelector('.chart')).backgroundColor")
                self.assertEqual(luminance(ground) < 0.2, scheme == "dark")
                for style in range(1, 9):
                    colour = page.evaluate("""(style) => { const probe = document.createElement('i'); document.body.append(probe);
                        probe.style.color = `var(--c${style})`; return getComputedStyle(probe).color; }""", style)
                    self.assertGreaterEqual(contrast(colour, ground), 3)

    def test_a_sweep_is_read_over_its_rates(self):
        page = self.open("sweep.html")
        plot = page.locator("#accuracy .plot")
        self.assertEqual(page.locator("#accuracy .legend .name").all_inner_texts(), ["all, linear", "all, mlp:8", "none, linear", "none, mlp:8"])
        plot.press("Home")
        self.assertRegex(plot.get_attribute("aria-valuetext"), "^learning rate 0.001: all, linear [0-9.]+.%, all, mlp:8 ")
        plot.press("End")
        self.assertEqual(page.locator("#accuracy .at").inner_text(), "learning rate 0.01")

    def test_the_first_key_leads_to_the_content(self):
        page = self.open("slow.html")
        page.keyboard.press("Tab")
        self.assertEqual(page.evaluate("document.activeElement.textContent"), "Skip to content")
        page.keyboard.press("Enter")
        self.assertEqual(page.evaluate("location.hash"), "#content")

    def test_without_scripts_and_on_paper_everything_is_there(self):
        page = self.open("slow.html", java_script_enabled=False)
        self.assertTrue(page.locator("#loss .plot").is_visible())
        self.assertTrue(page.get_by_text("Confusion matrix").first.is_visible())
        page = self.open("slow.html", scheme="dark")
        page.emulate_media(media="print")
        self.assertFalse(page.locator("nav").is_visible())
        self.assertEqual(page.evaluate("getComputedStyle(document.body).backgroundColor"), "rgb(255, 255, 255)")
        page.evaluate("dispatchEvent(new Event('beforeprint'))")
        self.assertTrue(page.locator("details table").first.is_visible())

    def test_comparison(self):
        page = self.open("compared.html")
        results = page.locator("table").first
        header = results.locator("thead th").all_inner_texts()
        best = header.index("val. loss, best epoch")
        losses = {name: RUNS[name]["epochs"][RUNS[name]["best"]]["val_loss"] for name in RUNS}
        for row in results.locator("tbody tr").all():
            name = row.locator("th").inner_text().strip()
            self.assertIn(f"{losses[name]:.4f}", row.locator("td").nth(best - 1).inner_text())
            self.assertEqual("best" in row.locator("td").nth(best - 1).text_content(), losses[name] == min(losses.values()))
        differing = page.get_by_role("table", name="Settings that differ")
        self.assertIn("lr", self.column(differing, 1))
        self.assertNotIn("head", self.column(differing, 1))
        self.assertEqual(page.locator("#curve-val_loss .series .line").count(), 2 + 2)  # and in the legend


if __name__ == "__main__":
    unittest.main()
