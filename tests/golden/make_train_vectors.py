#!/usr/bin/env python3
"""Writes tests/golden/train: optimiser steps and training losses computed by PyTorch.

    make_train_vectors.py          (needs torch and numpy; the tests need only the files)

optimizers.json: for each case the parameters after 1 and after 100 steps on the gradient g(p, t) = A p + sin(t) b.
losses.json: 20 training losses of the tiny ResNet of make_networks.py, for each freeze point and batch norm policy.
pictures.u8: 40 pictures [40, 32, 32, 3] to train on; the class of picture i is i % 5.
"""
import copy
import json
import pathlib

import numpy as np
import torch

import make_networks

OUT = pathlib.Path(__file__).resolve().parent / "train"
A = np.array([[0.5, 0.1, 0.0], [0.1, 0.3, -0.2], [0.0, -0.2, 0.9]])
B = np.array([0.2, -0.1, 0.05])
START = np.array([1.0, -2.0, 0.5])


def gradient(p, t):
    return A @ p + np.sin(t) * B


def run_torch(make, steps):
    p = torch.tensor(START, dtype=torch.float64, requires_grad=True)
    optimizer = make([p])
    for t in range(1, steps + 1):
        p.grad = torch.tensor(gradient(p.detach().numpy(), t))
        optimizer.step()
    return p.detach().numpy().tolist()


def optimizers():
    torch_cases = {
        "sgd": lambda p: torch.optim.SGD(p, lr=0.01),
        "sgd_momentum": lambda p: torch.optim.SGD(p, lr=0.01, momentum=0.9, weight_decay=0.01),
        "sgd_nesterov": lambda p: torch.optim.SGD(p, lr=0.01, momentum=0.9, nesterov=True),
        "adam": lambda p: torch.optim.Adam(p, lr=1e-3, weight_decay=0.01),
        "adamw": lambda p: torch.optim.AdamW(p, lr=1e-3),
        "rmsprop": lambda p: torch.optim.RMSprop(p),
        "rmsprop_momentum": lambda p: torch.optim.RMSprop(p, lr=1e-3, alpha=0.9, momentum=0.5),
    }
    result = {"start": START.tolist(), "A": A.tolist(), "b": B.tolist(), "cases": {}}
    for name, make in torch_cases.items():
        result["cases"][f"torch.{name}"] = {str(n): run_torch(make, n) for n in (1, 100)}
    return result


def pictures():
    rng = np.random.default_rng(11)
    base = rng.integers(40, 200, (5, 1, 1, 3))
    return np.clip(base[np.arange(40) % 5] + rng.integers(-40, 40, (40, 32, 32, 3)), 0, 255).astype(np.uint8)


def losses(images, frozen_until, bn, steps=20, batch=8):
    """The tutorial's loop as people write it in PyTorch."""
    net = copy.deepcopy(make_networks.randomise(make_networks.TinyResNet(), 2))
    for name, parameter in net.named_parameters():
        parameter.requires_grad = name.startswith(("fc",) + frozen_until)
    optimizer = torch.optim.Adam([p for p in net.parameters() if p.requires_grad], lr=1e-3)
    x = torch.tensor(images).permute(0, 3, 1, 2).float() / 255
    y = torch.arange(40) % 5
    found = []
    for step in range(steps):
        net.train()
        for module in net.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                trainable = any(p.requires_grad for p in module.parameters())
                module.train({"follow": trainable, "inference": False, "train": True}[bn])
                if bn == "train":
                    for p in module.parameters():
                        if not p.requires_grad:
                            p.requires_grad = True
                            optimizer.add_param_group({"params": [p]})
        at = step * batch % 40
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(net(x[at:at + batch]), y[at:at + batch])
        loss.backward()
        optimizer.step()
        found.append(loss.item())
    return found


def main():
    OUT.mkdir(exist_ok=True)
    (OUT / "optimizers.json").write_text(json.dumps(optimizers(), indent=1))
    images = pictures()
    (OUT / "pictures.u8").write_bytes(images.tobytes())
    runs = {"all.follow": losses(images, (), "follow")}
    for bn in ("follow", "inference", "train"):
        runs[f"until:layer2.{bn}"] = losses(images, ("layer2",), bn)
    (OUT / "losses.json").write_text(json.dumps(runs, indent=1))
    print("torch", torch.__version__, {name: values[-1] for name, values in runs.items()})


if __name__ == "__main__":
    main()
