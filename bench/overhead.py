#!/usr/bin/env python3
"""What the library adds to the operators of the network, for one prepared picture: the time of classify() outside of them, as a part of
the time in them. Several rounds, medians; fails where one is above --limit.

    overhead.py [--build build/release] [--rounds 5] [--seconds 4] [--threads 2] [--limit 0.03] [--network resnet50 vgg16]
                [--precision float32 bfloat16] [--json FILE]
"""
import json
import statistics
import subprocess
import sys

import common


def main():
    parser = common.parser(__doc__)
    parser.add_argument("--seconds", type=float, default=4, help="of each round")
    parser.add_argument("--limit", type=float, default=0.03)
    parser.add_argument("--network", nargs="+", default=["resnet50", "vgg16"])
    parser.add_argument("--precision", nargs="+", default=["float32", "bfloat16"])
    args = parser.parse_args()
    files = common.Files(args.place, args.build, common.environment(args.place))
    cases = [(network, precision) for network in args.network for precision in args.precision]
    rounds = {case: [] for case in cases}
    for _ in range(args.rounds):
        for network, precision in cases:
            model = files.path(network, "int8.pt" if precision == "int8" else "pt")
            command = [args.build / "bench" / "graft_bench_operators", model, precision, args.seconds, args.threads]
            answer = subprocess.run([str(part) for part in command], check=True, stdout=subprocess.PIPE, text=True).stdout
            rounds[network, precision].append(json.loads(answer))

    common.print_header(["network", "precision", "operators of the network", "other operators", "outside", "added"])
    failed = False
    for case, figures in rounds.items():
        network, library, outside = (statistics.median(column) for column in zip(*(
            (f["network_ms"], f["library_ms"], f["whole_ms"] - f["network_ms"] - f["library_ms"]) for f in figures)))
        added = statistics.median(f["whole_ms"] / f["network_ms"] - 1 for f in figures)
        failed |= added > args.limit
        common.print_row([*case, f"{network:.2f} ms", f"{library:.2f} ms", f"{outside:.2f} ms", f"{100 * added:.1f} %"])
    common.write_json(args.json, threads=args.threads, rounds=[{"network": n, "precision": p, "figures": f} for (n, p), f in rounds.items()])
    sys.exit(failed)


if __name__ == "__main__":
    main()
