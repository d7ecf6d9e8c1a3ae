#!/usr/bin/env python3
"""Two processes of half as many threads beside one, in turn: pictures a second of classifying into a folder, of fine-tuning a linear head, and
the last stage with it. Fails where the median of the rounds' ratios is below --limit. Needs a build with MPI, and a quiet machine.

    processes.py --model resnet50.pt --pictures FOLDER --train FOLDER --val FOLDER [--build build/release] [--rounds 5] [--threads 2]
                 [--limit 0.9] [--json FILE]
"""
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile

import common

MPIRUN = ["mpirun", "--allow-run-as-root", "--oversubscribe", "--bind-to", "none", "-np", "2"]


def images_per_second(args, processes, *command):
    launcher = MPIRUN if processes == 2 else []
    whole = [*launcher, args.build / "graft", *command, "--json", "--quiet", "--threads", args.threads // processes]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("OMP_")}
    with tempfile.TemporaryDirectory() as folder:
        result = subprocess.run([str(part) for part in (*whole, "--out", pathlib.Path(folder) / "out")], env=environment, check=True,
                                stdout=subprocess.PIPE, text=True)
    return json.loads(result.stdout)["images_per_second"]


def main():
    parser = common.parser(__doc__)
    for option in ("--model", "--pictures", "--train", "--val"):
        parser.add_argument(option, required=True)
    parser.add_argument("--limit", type=float, default=0.9)
    args = parser.parse_args()
    fine_tuning = ["finetune", args.model, "--train", args.train, "--val", args.val, "--on-bad-image", "skip", "--epochs", 1]
    jobs = {"classify --out FOLDER": ["classify", args.model, args.pictures, "--shard", 32],
            "linear head": fine_tuning,
            "last stage": [*fine_tuning, "--freeze", "stages:3", "--bn", "inference"]}
    figures = {job: [] for job in jobs}
    for _ in range(args.rounds):
        for job, command in jobs.items():
            figures[job].append([images_per_second(args, processes, *command) for processes in (1, 2)])

    common.print_header(["job", "one process, images/s", "two", "ratio", "its range"])
    failed = False
    for job, rounds in figures.items():
        one, two = zip(*rounds)
        ratios = [b / a for a, b in rounds]
        ratio = common.median_ratio(two, one)
        failed |= ratio < args.limit
        common.print_row([job, f"{statistics.median(one):.1f}", f"{statistics.median(two):.1f}", f"{ratio:.2f}", f"{min(ratios):.2f} to {max(ratios):.2f}"])
    common.write_json(args.json, threads=args.threads, figures=figures)
    sys.exit(failed)


if __name__ == "__main__":
    main()
