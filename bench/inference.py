#!/usr/bin/env python3
"""Inference with random weights, Graft beside its peers, in turn: images per second, medians, ratios, peak memory.

    inference.py [--build build/release] [--rounds 5] [--seconds 4] [--threads 2] [--batch 1 32] [--network resnet50 vgg16]
                 [--precision float32 bfloat16 int8] [--peer pytorch compiled onnxruntime openvino] [--json FILE]

Each subject is a process of its own that has its model ready and sleeps while another is measured. All get the same number of threads
and batches [N, 3, 224, 224] of float32 that are there beforehand (PyTorch: channels last). Graft is Model::forward. The peers are
installed into --place. A ratio is Graft's figure by the peer's of the same round.
"""
import statistics
import sys

import common

# In the order of the table: its title, and the files it reads, for the precisions it has.
SUBJECTS = {"pytorch": ("PyTorch, channels last", {"float32": "pt", "bfloat16": "pt"}),
            "compiled": ("PyTorch, compiled", {"float32": "pt", "bfloat16": "pt"}),
            "onnxruntime": ("ONNX Runtime", {"float32": "onnx", "int8": "int8.onnx"}),
            "openvino": ("OpenVINO", {"float32": "xml", "bfloat16": "xml", "int8": "int8.xml"}),
            "graft": ("Graft", {"float32": "pt", "bfloat16": "pt", "int8": "int8.pt"})}
NETWORKS, PRECISIONS = ("resnet50", "vgg16"), ("float32", "bfloat16", "int8")


def start(name, network, precision, batch, files, args):
    kinds = SUBJECTS[name][1]
    if precision not in kinds:
        raise common.Unavailable(f"does not do {precision}")
    model = files.path(network, kinds[precision])
    if name == "graft":
        return common.Subject([args.build / "bench" / "graft_bench_network", model, batch, precision, args.threads])
    return common.Subject([files.python, common.HERE / "peers.py", "serve", name, model, network, precision, batch, args.threads],
                          {"TORCHINDUCTOR_CACHE_DIR": str((args.place / "inductor").absolute())})


def measure(network, precision, batch, names, files, args):
    """The row's figures: {"subjects": {name: ...}, "left_out": {name: reason}}."""
    subjects, left_out = {}, {}
    for name in names:
        try:
            subjects[name] = start(name, network, precision, batch, files, args)
        except common.Unavailable as error:
            left_out[name] = str(error)
    rates = {name: [] for name in subjects}
    try:
        for _ in range(args.rounds):
            for name, subject in subjects.items():
                rates[name].append(subject.figure(args.seconds))
        figures = {name: {"images_per_second": rates[name], "median": statistics.median(rates[name]), "peak_mb": subject.peak_mb()}
                   for name, subject in subjects.items()}
    finally:
        for subject in subjects.values():
            subject.close()
    for name in figures:
        if "graft" in figures and name != "graft":
            figures[name]["graft_ratio"] = common.median_ratio(rates["graft"], rates[name])
    return {"network": network, "precision": precision, "batch": batch, "subjects": figures, "left_out": left_out}


def cells(row, names):
    figures, none = row["subjects"], "-"
    speeds = [f"{figures[name]['median']:.1f}" if name in figures else none for name in names]
    ratios = [f"{figures[name]['graft_ratio']:.2f}" if "graft_ratio" in figures.get(name, {}) else none for name in names if name != "graft"]
    memory = [f"{figures[name]['peak_mb']:.0f}" if name in figures else none for name in names]
    return [row["network"], row["precision"], row["batch"], *speeds, *ratios, " / ".join(memory)]


def main():
    parser = common.parser(__doc__)
    parser.add_argument("--seconds", type=float, default=4, help="of each figure")
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 32])
    parser.add_argument("--network", nargs="+", choices=NETWORKS, default=NETWORKS)
    parser.add_argument("--precision", nargs="+", choices=PRECISIONS, default=PRECISIONS)
    parser.add_argument("--peer", nargs="*", choices=[name for name in SUBJECTS if name != "graft"],
                        default=[name for name in SUBJECTS if name != "graft"])
    args = parser.parse_args()

    names = [name for name in SUBJECTS if name in args.peer or name == "graft"]
    titles = {name: SUBJECTS[name][0] for name in names}
    files = common.Files(args.place, args.build, common.environment(args.place))
    common.print_header(["network", "precision", "batch", *titles.values(), *(f"Graft by {titles[name]}" for name in names if name != "graft"),
                         "peak MB, in the same order"])
    rows = []
    for network in args.network:
        for precision in args.precision:
            for batch in args.batch:
                row = measure(network, precision, batch, names, files, args)
                common.print_row(cells(row, names))
                for name, reason in row["left_out"].items():
                    if precision in SUBJECTS[name][1]:
                        print(f"left out: {titles[name]}, {network}, {precision}, batch {batch}: {reason}", file=sys.stderr)
                rows.append(row)
    common.write_json(args.json, threads=args.threads, seconds=args.seconds, rows=rows)


if __name__ == "__main__":
    main()
