#!/usr/bin/env python3
"""Trains the embedded network, models/graft_mini.pt, on the pictures of draw_pictures.py.

    train_graft_mini.py [--out models/graft_mini.pt] [--per-class 700] [--epochs 8] [--seed 0]

Seeded and deterministic on one machine; about 10 minutes on two cores. Prints the accuracy on pictures drawn with another
seed, which models/README.md quotes.
"""
import argparse
import multiprocessing
import pathlib
import time

import numpy as np
import torch
from torch import nn

import artefact
import draw_pictures

HERE = pathlib.Path(__file__).resolve().parent
MEAN, STD = 0.5, 0.25


class BasicBlock(nn.Module):
    """He et al. 2015, figure 2, with the names that torchvision uses."""

    def __init__(self, c_in: int, c_out: int, stride: int):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(c_in, c_out, 3, stride, 1, bias=False), nn.BatchNorm2d(c_out)
        self.conv2, self.bn2 = nn.Conv2d(c_out, c_out, 3, 1, 1, bias=False), nn.BatchNorm2d(c_out)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = None
        if stride != 1 or c_in != c_out:
            self.downsample = nn.Sequential(nn.Conv2d(c_in, c_out, 1, stride, bias=False), nn.BatchNorm2d(c_out))

    def forward(self, x):
        identity = x
        y = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        if self.downsample is not None:
            identity = self.downsample(x)
        return self.relu(y + identity)


class GraftMini(nn.Module):
    """A residual network of 0.5 million parameters for 64 x 64 pictures."""

    def __init__(self, classes: int):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 24, 3, 2, 1, bias=False), nn.BatchNorm2d(24)
        self.relu = nn.ReLU(inplace=True)
        self.layer1 = nn.Sequential(BasicBlock(24, 24, 1))
        self.layer2 = nn.Sequential(BasicBlock(24, 48, 2))
        self.layer3 = nn.Sequential(BasicBlock(48, 96, 2))
        self.layer4 = nn.Sequential(BasicBlock(96, 128, 2))
        self.avgpool, self.fc = nn.AdaptiveAvgPool2d(1), nn.Linear(128, classes)

    def forward(self, x):
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.fc(torch.flatten(self.avgpool(x), 1))


def description(names):
    """Preprocessing and labels, as the library reads them."""
    return {
        "preprocessing": {"resize_shorter_px": draw_pictures.SIDE, "crop_height_px": draw_pictures.SIDE,
                          "crop_width_px": draw_pictures.SIDE, "interpolation": "bilinear", "channels": "rgb",
                          "scale": 1 / 255, "mean": [MEAN] * 3, "std": [STD] * 3},
        "labels": [{"id": name, "name": name.replace("_", " ")} for name in names],
    }


def as_input(pictures):
    x = torch.from_numpy(pictures).permute(0, 3, 1, 2).float().div_(255)
    return x.sub_(MEAN).div_(STD).contiguous(memory_format=torch.channels_last)


def draw_in_parallel(per_class, seed):
    parts = 8
    with multiprocessing.Pool(2) as pool:
        drawn = pool.starmap(draw_pictures.draw_set, [(per_class // parts, seed * 1000 + part) for part in range(parts)])
    return np.concatenate([d[0] for d in drawn]), np.concatenate([d[1] for d in drawn])


@torch.no_grad()
def accuracy(net, pictures, labels):
    net.eval()
    guesses = torch.cat([net(as_input(pictures[i:i + 256])).argmax(1) for i in range(0, len(labels), 256)])
    return (guesses == torch.from_numpy(labels)).float().mean().item()


def train(net, pictures, labels, epochs, seed, batch=128, top_rate=4e-3):
    optimizer = torch.optim.AdamW(net.parameters(), lr=top_rate, weight_decay=0.02)
    steps = epochs * (len(labels) // batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, top_rate, total_steps=steps)
    generator = torch.Generator().manual_seed(seed)
    targets = torch.from_numpy(labels)
    for epoch in range(epochs):
        net.train()
        start, total = time.time(), 0.0
        order = torch.randperm(len(labels), generator=generator)
        for at in range(0, len(order) - batch + 1, batch):
            chosen = order[at:at + batch]
            loss = nn.functional.cross_entropy(net(as_input(pictures[chosen.numpy()])), targets[chosen], label_smoothing=0.05)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            total += loss.item()
        print(f"epoch {epoch + 1}: loss {total / (len(order) // batch):.3f}, {time.time() - start:.0f} s", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=pathlib.Path, default=HERE / "graft_mini.pt")
    parser.add_argument("--per-class", type=int, default=700)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()

    torch.manual_seed(args.seed)
    names = list(draw_pictures.CLASSES)
    pictures, labels = draw_in_parallel(args.per_class, args.seed + 1)
    held_out, held_out_labels = draw_in_parallel(24, args.seed + 500)
    print(f"{len(names)} classes, {len(labels)} pictures", flush=True)
    net = GraftMini(len(names)).to(memory_format=torch.channels_last)
    train(net, pictures, labels, args.epochs, args.seed)
    print(f"held-out accuracy {accuracy(net, held_out, held_out_labels):.4f} on {len(held_out_labels)} pictures")

    net = net.to(memory_format=torch.contiguous_format).eval()
    artefact.save(torch.jit.script(net), args.out, description(names))
    print(f"wrote {args.out.name}, {args.out.stat().st_size / 1e6:.2f} MB, "
          f"{sum(p.numel() for p in net.parameters())} parameters")


if __name__ == "__main__":
    main()
