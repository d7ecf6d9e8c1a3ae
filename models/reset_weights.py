#!/usr/bin/env python3
"""Gives a TorchScript network fresh random weights: the starting point of training from scratch.

    reset_weights.py IN.pt OUT.pt [--seed 0]

Convolutions and linear layers are drawn as PyTorch draws them, batch norm starts at 1, 0 and empty statistics.
"""
import argparse
import json

import torch
from torch import nn

import artefact


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source")
    parser.add_argument("out")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()

    torch.manual_seed(args.seed)
    extra = {"graft.json": ""}
    net = torch.jit.load(args.source, map_location="cpu", _extra_files=extra)
    with torch.no_grad():
        for name, tensor in list(net.named_parameters()) + list(net.named_buffers()):
            if tensor.dim() == 4:
                nn.init.kaiming_normal_(tensor, mode="fan_out", nonlinearity="relu")
            elif tensor.dim() == 2:
                nn.init.kaiming_uniform_(tensor, a=5 ** 0.5)
            else:
                tensor.fill_(1 if name.endswith(("weight", "running_var")) else 0)
    artefact.save(net.eval(), args.out, json.loads(extra["graft.json"] or "{}"))


if __name__ == "__main__":
    main()
