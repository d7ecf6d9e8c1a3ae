#!/usr/bin/env python3
"""What the library adds: `graft classify` on a folder, beside the sum of decoding, preprocessing and the network called
directly in the faster of two layouts, in turn, several rounds. Prints each round, the medians and the ratio; fails where
the ratio is above --limit.

    classify_cost.py MODEL FOLDER [--build build/release] [--rounds 5] [--threads 2] [--limit 1.05]
"""
import argparse
import json
import pathlib
import statistics
import subprocess
import sys


def output(*command):
    return json.loads(subprocess.run([str(part) for part in command], check=True, capture_output=True, text=True).stdout)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("folder")
    parser.add_argument("--build", type=pathlib.Path, default=pathlib.Path("build/release"))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--limit", type=float, default=1.05)
    args = parser.parse_args()

    sums, wholes = [], []
    for number in range(args.rounds):
        parts = output(args.build / "bench" / "graft_bench_parts", args.model, args.folder, args.threads)
        result = output(args.build / "graft", "classify", args.model, args.folder, "--json", "--quiet", "--threads", args.threads)
        network = min(parts["network_s"], parts["network_channels_last_s"])
        sums.append(parts["decode_s"] + parts["preprocess_s"] + network)
        wholes.append(len(result["predictions"]) / result["images_per_second"])
        print(f"round {number + 1}: decode {parts['decode_s']:.2f} s + preprocess {parts['preprocess_s']:.2f} s + network "
              f"{network:.2f} s ([N, C, H, W] {parts['network_s']:.2f}, channels last {parts['network_channels_last_s']:.2f}) "
              f"= {sums[-1]:.2f} s; graft classify {wholes[-1]:.2f} s; ratio {wholes[-1] / sums[-1]:.3f}", flush=True)
    ratio = statistics.median(w / s for w, s in zip(wholes, sums))
    print(f"median: parts {statistics.median(sums):.2f} s, graft classify {statistics.median(wholes):.2f} s, ratio {ratio:.3f} "
          f"(at most {args.limit})")
    sys.exit(ratio > args.limit)


if __name__ == "__main__":
    main()
