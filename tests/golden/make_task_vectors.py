#!/usr/bin/env python3
"""Writes tests/golden/train/tasks.json and tests/golden/networks/heads.json: built-in heads, several tasks and their scores,
computed by PyTorch and scikit-learn.

    make_task_vectors.py          (needs torch, numpy, scikit-learn with scipy, and pictures.u8 of make_train_vectors.py)

heads.json: for each pooling and the cosine classifier the parameters, and the logits for features [2, 6, 3, 4].
tasks.json: 20 training losses of three heads on the frozen tiny ResNet (classes, labels of which some are unknown, numbers),
and the scores of fixed logits.
"""
import json
import math
import pathlib

import numpy as np
import torch
from sklearn import metrics
from torch import nn
from torch.nn import functional as F

import make_networks

OUT = pathlib.Path(__file__).resolve().parent
N, CLASSES = 40, 5


class Gem(nn.Module):
    """Radenovic et al. 2018, equation 3."""

    def __init__(self):
        super().__init__()
        self.p = nn.Parameter(torch.full((1,), 3.0))

    def forward(self, x):
        return F.avg_pool2d(x.clamp(min=1e-6).pow(self.p), x.shape[-2:]).pow(1 / self.p)[..., 0, 0]


class Attention(nn.Module):
    """Ilse et al. 2018, equations 7 and 8, the instances being the places."""

    def __init__(self, channels):
        super().__init__()
        self.v, self.w = nn.Linear(channels, 128, bias=False), nn.Linear(128, 1, bias=False)

    def forward(self, x):
        h = x.flatten(2).permute(0, 2, 1)
        return torch.einsum("ntc,nt->nc", h, self.w(torch.tanh(self.v(h)))[..., 0].softmax(1))


POOLINGS = {
    "average": lambda c: (nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()), c),
    "max": lambda c: (nn.Sequential(nn.AdaptiveMaxPool2d(1), nn.Flatten()), c),
    "average_max": lambda c: (lambda x: torch.cat([F.adaptive_avg_pool2d(x, 1), F.adaptive_max_pool2d(x, 1)], 1).flatten(1), 2 * c),
    "gem": lambda c: (Gem(), c),
    "attention": lambda c: (Attention(c), c),
}


def head_case(pooling, cosine, features):
    pool, width = POOLINGS[pooling](features.shape[1])
    fc = nn.Linear(width, 4)
    parameters = {"fc.weight": fc.weight, "fc.bias": fc.bias}
    if isinstance(pool, Gem):
        pool.p.data.fill_(2.5)
        parameters["pool.p"] = pool.p
    if isinstance(pool, Attention):
        parameters |= {"pool.v": pool.v.weight, "pool.w": pool.w.weight}
    pooled = pool(features)
    if cosine:
        del parameters["fc.bias"]
        parameters["fc.scale"] = torch.tensor(7.0)
        logits = 7 * F.cosine_similarity(pooled[:, None], fc.weight[None], dim=2)
    else:
        logits = fc(pooled)
    return {"parameters": {name: value.flatten().tolist() for name, value in parameters.items()}, "logits": logits.flatten().tolist()}


def head_cases():
    torch.manual_seed(3)
    features = torch.randn(2, 6, 3, 4)
    cases = {(f"{pooling}+" if pooling != "average" else "") + kind: head_case(pooling, kind == "cosine", features)
             for pooling in POOLINGS for kind in ("linear", "cosine")}
    return {"features": features.flatten().tolist(), "cases": cases}


def targets():
    """[N, 1 + 3 + 2]: a class, three labels (the third sometimes unknown), two numbers."""
    rows = [[i % CLASSES, i % 2, float(i % 3 == 0), math.nan if i % 7 == 0 else float(i % 5 == 2), i / N, math.sin(i)] for i in range(N)]
    return torch.tensor(rows)


def task_losses(logits, y):
    species, traits, size = logits.split([CLASSES, 3, 2], 1)
    wanted, known = y[:, 1:4], ~y[:, 1:4].isnan()
    return (F.cross_entropy(species, y[:, 0].long()),
            F.binary_cross_entropy_with_logits(traits[known], wanted[known]),
            F.huber_loss(size, y[:, 4:]))


def training(steps=20, batch=8):
    net = make_networks.randomise(make_networks.TinyResNet(), 2)
    net.fc = nn.Identity()
    torch.manual_seed(9)
    heads = {"species": nn.Linear(16, CLASSES), "traits": nn.Linear(16, 3), "size": nn.Linear(16, 2)}
    start = {f"head.{name}.fc.{kind}": getattr(head, kind).tolist() for name, head in heads.items() for kind in ("weight", "bias")}
    optimizer, found = torch.optim.Adam([p for head in heads.values() for p in head.parameters()], lr=1e-2), []
    images = np.fromfile(OUT / "train" / "pictures.u8", np.uint8).reshape(N, 32, 32, 3)
    x, y = torch.tensor(images).permute(0, 3, 1, 2).float() / 255, targets()
    for step in range(steps):
        at = step * batch % N
        with torch.no_grad():
            features = net(x[at:at + batch])
        logits = torch.cat([head(features) for head in heads.values()], 1)
        a, b, c = task_losses(logits, y[at:at + batch])
        loss = a + 0.5 * b + 2 * c
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        found.append(loss.item())
    return {"head": start, "losses": found}


def scores():
    torch.manual_seed(4)
    logits, y = torch.randn(N, CLASSES + 3 + 2), targets()
    logits[:10, CLASSES:] = logits[10:20, CLASSES:]  # equal scores
    species, traits, size = logits.split([CLASSES, 3, 2], 1)
    known = ~y[:, 1:4].isnan()
    a, b, c = task_losses(logits, y)
    per_label = [[metrics.average_precision_score(y[known[:, k], 1 + k], traits[known[:, k], k]),
                  *metrics.precision_recall_fscore_support(y[known[:, k], 1 + k], traits[known[:, k], k] > 0, average="binary")[:3]]
                 for k in range(3)]
    return {"logits": logits.flatten().tolist(),
            "species": {"loss": a.item(), "accuracy": metrics.accuracy_score(y[:, 0], species.argmax(1))},
            "traits": {"loss": b.item(), "accuracy": metrics.accuracy_score(y[:, 1:4][known], traits[known] > 0),
                       "mean_average_precision": float(np.mean([row[0] for row in per_label])),
                       "per_label": [list(map(float, row[1:])) for row in per_label]},
            "size": {"loss": c.item(), "mean_absolute_error": metrics.mean_absolute_error(y[:, 4:], size),
                     "root_mean_squared_error": math.sqrt(metrics.mean_squared_error(y[:, 4:], size)),
                     "r2": metrics.r2_score(y[:, 4:], size)}}


def main():
    (OUT / "networks" / "heads.json").write_text(json.dumps(head_cases()))
    (OUT / "train" / "tasks.json").write_text(json.dumps({"training": training(), "scores": scores()}, indent=1))


if __name__ == "__main__":
    main()
