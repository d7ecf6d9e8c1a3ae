#!/usr/bin/env python3
"""From the start of a process to its first prediction: ResNet50 with random weights and one JPEG, Graft beside its peers in Python, in
turn, several rounds. Prints medians, ratios and peak memory; fails where Graft is slower than OpenVINO, or holds more than 1.3 times the
weights and 300 MB.

    cold_start.py [--build build/release] [--rounds 11] [--threads 2] [--peer openvino onnxruntime torchscript] [--json FILE]

Each prediction is a fresh process; model files are there in the peers' own formats, and in the page cache, as are the libraries. Time ends
when the prediction arrives; processor time and memory are the whole process's. "unverified" is --no-verify: no SHA-256 and no
golden picture, which the peers do not have.
"""
import os
import statistics
import subprocess
import sys
import time

import common

KINDS = {"openvino": ("OpenVINO, Python", "xml"), "onnxruntime": ("ONNX Runtime, Python", "onnx"), "torchscript": ("PyTorch, torch.jit.load", "pt")}
NETWORK = "resnet50"


def first_prediction(command):
    """Seconds until it prints, processor seconds, peak MB."""
    start = time.monotonic()
    process = subprocess.Popen([str(part) for part in command], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    answer = os.read(process.stdout.fileno(), 1)
    seconds = time.monotonic() - start
    errors = process.stderr.read().decode()
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0 or not answer:
        raise common.Unavailable(common.last_words(errors))
    return seconds, used.ru_utime + used.ru_stime, used.ru_maxrss * 1024 / 1e6


def commands(files, args):
    graft = [args.build / "graft", "classify", files.path(NETWORK, "pt"), files.photo(), "--quiet", "--threads", args.threads]
    subjects = {"Graft": graft, "Graft, unverified": [*graft, "--no-verify"]}
    for peer in args.peer:
        title, kind = KINDS[peer]
        subjects[title] = [files.python, common.HERE / "peers.py", "first", peer, files.path(NETWORK, kind), files.photo(), args.threads]
    return subjects


def main():
    parser = common.parser(__doc__)
    parser.set_defaults(rounds=11)
    parser.add_argument("--peer", nargs="*", choices=KINDS, default=list(KINDS))
    args = parser.parse_args()
    files = common.Files(args.place, args.build, common.environment(args.place))
    subjects = commands(files, args)
    for command in subjects.values():
        first_prediction(command)  # brings all files into memory
    rounds = [{title: first_prediction(command) for title, command in subjects.items()} for _ in range(args.rounds)]

    columns = {title: list(zip(*(one[title] for one in rounds))) for title in subjects}
    common.print_header(["", "first prediction", "Graft by it", "processor time", "peak memory"])
    for title, (seconds, processor, peak) in columns.items():
        ratio = common.median_ratio(columns["Graft"][0], seconds)
        common.print_row([title, f"{statistics.median(seconds):.2f} s", f"{ratio:.2f}", f"{statistics.median(processor):.2f} s", f"{max(peak):.0f} MB"])
    common.write_json(args.json, threads=args.threads, rounds=rounds)

    weights_mb = files.path(NETWORK, "pt").stat().st_size / 1e6
    peak, bound = max(columns["Graft"][2]), 1.3 * weights_mb + 300
    print(f"\nGraft's peak memory: {peak:.0f} MB, at most {bound:.0f} MB for weights of {weights_mb:.0f} MB")
    failed = peak > bound
    if "openvino" in args.peer:
        failed |= common.median_ratio(columns["Graft"][0], columns[KINDS["openvino"][0]][0]) > 1
    sys.exit(failed)


if __name__ == "__main__":
    main()
