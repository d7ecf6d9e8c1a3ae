#!/usr/bin/env python3
"""A text set that a Debian system has at hand: one-line descriptions of packages, labelled by the archive's section.

    debian_sections.py OUT [--per-class 50] [--seed 0]      writes OUT/train.csv, val.csv and test.csv, columns text and label

From `apt-cache dumpavail` (apt-get update first). Of the packages made from one source one is taken, and each text once, so that no
text of training has a near copy in the test. The sections are about what a program does, not what it is written in.
"""
import argparse
import csv
import pathlib
import random
import subprocess

SECTIONS = ("admin", "database", "editors", "electronics", "games", "graphics", "mail", "math", "net", "science", "sound", "video", "web")

VALIDATING = 10


def packages():
    """Name, source, section and description, in the order of the archive."""
    text = subprocess.run(["apt-cache", "dumpavail"], check=True, capture_output=True, text=True).stdout
    for stanza in text.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in stanza.splitlines() if ": " in line and not line.startswith(" "))
        if {"Package", "Section", "Description"} <= fields.keys():
            source = fields.get("Source", fields["Package"]).split(" ")[0]
            yield fields["Package"], source, fields["Section"].split("/")[-1], fields["Description"].strip()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--per-class", type=int, default=50, help="texts of each section to train on; 10 validate, all others test")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()

    found, sources, texts = {section: [] for section in SECTIONS}, set(), set()
    for _, source, section, text in sorted(packages()):
        if section in found and source not in sources and text.lower() not in texts:
            found[section].append(text)
            sources.add(source)
            texts.add(text.lower())
    r = random.Random(args.seed)
    parts = {"train": [], "val": [], "test": []}
    for section, own in found.items():
        if len(own) < args.per_class + 2 * VALIDATING:
            raise SystemExit(f"{section}: expected {args.per_class + 2 * VALIDATING} texts, found {len(own)}; run apt-get update, or take fewer")
        r.shuffle(own)
        for name, some in (("val", own[:VALIDATING]), ("test", own[VALIDATING:-args.per_class]), ("train", own[-args.per_class:])):
            parts[name] += [(text, section) for text in some]
    args.out.mkdir(parents=True, exist_ok=True)
    for name, rows in parts.items():
        r.shuffle(rows)
        with (args.out / f"{name}.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(["text", "label"])
            writer.writerows(rows)
        print(f"{args.out / name}.csv: {len(rows)} texts of {len(SECTIONS)} sections")


if __name__ == "__main__":
    main()
