#!/usr/bin/env python3
"""Writes tests/golden/train: optimiser steps and training losses computed by PyTorch.

    make_train_vectors.py          (needs torch and numpy; the tests need only the files)

optimizers.json: for each case the parameters after 1 and after 100 steps on the gradient g(p, t) = A p + sin(t) b.
schedules.json: learning rates of PyTorch's schedulers. mixing.json: a batch, mixed and cut. smoothed.json: as losses.json,
with label smoothing. recipes.json: losses and last answers with parameter groups, clipping, accumulation, averaged and class
weights. valleys.json: what fastai suggests for a curve. mlp.json: with a new head of two dense layers, and its first weights.
loss_scaling.json: the course of GradScaler over given steps. float16.json: as mlp.json, in float16 with features so large that
gradients overflow at first.
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


PLATEAU_LOSSES = [1.0, 0.9, 0.90002, 0.89996, 0.95, 0.9, 0.7, 0.7, 0.69999, 0.71, 0.7, 0.7, 0.6, 0.6, 0.6, 0.6]


def rates(make, steps, per_step=True):
    """Learning rates in force at each step, and what the scheduler is told after it."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.4)
    scheduler, found = make(optimizer), []
    for step in range(steps):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        if per_step is True or (step + 1) % per_step == 0:
            scheduler.step()
    return found


def schedules():
    """A run of 6 epochs of 5 steps."""
    lr = torch.optim.lr_scheduler
    result = {
        "step": rates(lambda o: lr.StepLR(o, 2, 0.3), 30, per_step=5),
        "cosine": rates(lambda o: lr.CosineAnnealingLR(o, 30, eta_min=0.04), 30),
        "one_cycle": rates(lambda o: lr.OneCycleLR(o, 0.4, total_steps=30, cycle_momentum=False), 30),
        "warm_cosine": rates(lambda o: lr.SequentialLR(o, [lr.LinearLR(o, 0.01, total_iters=7), lr.CosineAnnealingLR(o, 23)], [7]), 30),
    }
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.4)
    plateau = lr.ReduceLROnPlateau(optimizer, factor=0.5, patience=2)
    result["plateau"] = []
    for loss in PLATEAU_LOSSES:
        result["plateau"].append(optimizer.param_groups[0]["lr"])
        plateau.step(loss)
    return result | {"plateau_losses": PLATEAU_LOSSES}


def mixing():
    """torchvision.transforms.v2's MixUp and CutMix for a given share and box, written out."""
    x = torch.arange(3 * 2 * 4 * 5, dtype=torch.float32).reshape(3, 2, 4, 5) ** 1.5
    cut, rolled = x.clone(), x.roll(1, 0)
    cut[..., 1:3, 2:5] = rolled[..., 1:3, 2:5]
    return {"images": x.flatten().tolist(), "mixed": (rolled.mul(1 - 0.3) + x.mul(0.3)).flatten().tolist(),
            "cut": cut.flatten().tolist()}


def pictures():
    rng = np.random.default_rng(11)
    base = rng.integers(40, 200, (5, 1, 1, 3))
    return np.clip(base[np.arange(40) % 5] + rng.integers(-40, 40, (40, 32, 32, 3)), 0, 255).astype(np.uint8)


def losses(images, frozen_until, bn, steps=20, batch=8, smoothing=0.0):
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
        loss = torch.nn.functional.cross_entropy(net(x[at:at + batch]), y[at:at + batch], label_smoothing=smoothing)
        loss.backward()
        optimizer.step()
        found.append(loss.item())
    return found


CLASS_WEIGHTS = [1.0, 2.0, 0.5, 1.0, 3.0]


def recipe(images, make_groups, make_optimizer=lambda groups: torch.optim.SGD(groups, lr=0.05, momentum=0.9), clip_norm=0.0,
           clip_value=0.0, accumulate=1, ema=0.0, weight=None, steps=20, batch=8):
    """The same network with all layers trained and batch norm in inference mode: losses, and what the (averaged) network says
    of the first 8 pictures in the end. Five batches are an epoch, after which what was accumulated is stepped."""
    net = copy.deepcopy(make_networks.randomise(make_networks.TinyResNet(), 2)).eval()
    optimizer = make_optimizer(make_groups(net))
    average = torch.optim.swa_utils.AveragedModel(net, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(ema)) if ema else net
    if ema:  # it begins with the weights as they are, not with those after the first step
        average.n_averaged += 1
    x = torch.tensor(images).permute(0, 3, 1, 2).float() / 255
    y = torch.arange(40) % 5
    found, waiting = [], 0
    for step in range(steps):
        at = step * batch % 40
        loss = torch.nn.functional.cross_entropy(net(x[at:at + batch]), y[at:at + batch], weight=weight)
        loss.backward()
        found.append(loss.item())
        waiting += 1
        if waiting < accumulate and at + batch < 40:
            continue
        for parameter in net.parameters():
            parameter.grad /= waiting
        waiting = 0
        if clip_norm:
            torch.nn.utils.clip_grad_norm_(net.parameters(), clip_norm)
        if clip_value:
            torch.nn.utils.clip_grad_value_(net.parameters(), clip_value)
        optimizer.step()
        optimizer.zero_grad()
        if ema:
            average.update_parameters(net)
    with torch.no_grad():
        return {"losses": found, "logits": average.eval()(x[:8]).flatten().tolist()}


def recipes(images):
    def everything(net):
        return net.parameters()

    def grouped(net):
        groups = []
        for name, parameter in net.named_parameters():
            chosen = name.startswith("layer2.")
            decay = 0.0 if parameter.dim() <= 1 else 0.5 if chosen else 0.1
            groups.append({"params": [parameter], "lr": 1e-3 * (0.1 if chosen else 1), "weight_decay": decay})
        return groups

    def by_depth(net):
        depth = {"fc": 0, "layer2": 1}  # the stem belongs to the first of the two stages
        return [{"params": [parameter], "lr": 0.05 * 0.5 ** depth.get(name.split(".")[0], 2)}
                for name, parameter in net.named_parameters()]

    return {"groups": recipe(images, grouped, torch.optim.AdamW), "layer_decay": recipe(images, by_depth),
            "clip_norm": recipe(images, everything, clip_norm=0.5), "clip_value": recipe(images, everything, clip_value=0.01),
            "accumulate": recipe(images, everything, accumulate=2), "ema": recipe(images, everything, ema=0.9),
            "class_weights": recipe(images, everything, weight=torch.tensor(CLASS_WEIGHTS))}


def valleys():
    """Curves of losses and the index that fastai's valley (fastai/callback/schedule.py) gives for them, written out; as lr_find
    leaves out the first tenth and the last five."""
    def valley(losses):
        start = end = 0
        longest = [1] * len(losses)
        for i in range(1, len(losses)):
            for j in range(i):
                if losses[i] < losses[j] and longest[i] < longest[j] + 1:
                    longest[i] = longest[j] + 1
                if longest[end] < longest[i]:
                    end = i
                    start = end - longest[end]
        sections = (end - start) / 3
        return start + int(sections) + int(sections / 2)

    rng, cases = np.random.default_rng(3), []
    for length, bottom in ((100, 60), (100, 30), (80, 70), (40, 25)):
        x = np.arange(length)
        losses = 2 - 1.2 / (1 + np.exp(-(x - bottom / 1.5) / 6)) + np.exp((x - length) / 4.0) * 3 + rng.normal(0, 0.02, length)
        cut = length // 10
        cases.append({"losses": losses.tolist(), "index": cut + valley(losses.tolist()[cut:-5])})
    return cases


def mlp_losses(images, steps=20, batch=8):
    """A new head of two dense layers on the frozen trunk, with its first weights."""
    net = make_networks.randomise(make_networks.TinyResNet(), 2)
    net.fc = torch.nn.Identity()
    torch.manual_seed(5)
    head = torch.nn.Sequential(torch.nn.Linear(16, 12), torch.nn.ReLU(), torch.nn.Linear(12, 5))
    names = {"head.hidden.fc1.weight": head[0].weight, "head.hidden.fc1.bias": head[0].bias, "head.fc.weight": head[2].weight,
             "head.fc.bias": head[2].bias}
    start = {name: value.tolist() for name, value in names.items()}
    optimizer, found = torch.optim.Adam(head.parameters(), lr=1e-3), []
    x = torch.tensor(images).permute(0, 3, 1, 2).float() / 255
    y = torch.arange(40) % 5
    for step in range(steps):
        at = step * batch % 40
        with torch.no_grad():
            features = net(x[at:at + batch])
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(head(features), y[at:at + batch])
        loss.backward()
        optimizer.step()
        found.append(loss.item())
    return {"head": start, "losses": found}


def loss_scaling():
    """Steps whose gradients are what is given (times the scale, where that overflows float32), as GradScaler goes on from them."""
    largest = float(torch.finfo(torch.float32).max)
    course = [(1.0, 1), (float("inf"), 3), (0.5, 1), (float("nan"), 1), (-2.0, 1999), (largest, 1), (0.25, 2000), (1.0, 1999), (-float("inf"), 1),
              (1.0, 2001), (1.0, 4000), (float("inf"), 18), (3.0, 1)]
    scaler = torch.amp.GradScaler("cpu")
    parameter = torch.tensor([1.0], requires_grad=True)
    optimizer = torch.optim.SGD([parameter], lr=1e-4)
    found = []
    for gradient, times in course:
        for _ in range(times):
            optimizer.zero_grad()
            scaler.scale(parameter.sum() * gradient).backward()
            scaler.step(optimizer)
            scaler.update()
        found.append({"gradient": str(gradient), "times": times, "scale": scaler.get_scale(), "growth": scaler._get_growth_tracker(),
                      "parameter": parameter.item()})
    return found


def float16_losses(images, steps=20, batch=8):
    """Losses and scales before each step; with a scale of 1, nothing of this would overflow."""
    net = make_networks.randomise(make_networks.TinyResNet(), 2)
    net.fc = torch.nn.Identity()
    with torch.no_grad():
        net.layer2[1].bn3.weight *= 100
    torch.manual_seed(5)
    head = torch.nn.Linear(16, 5)
    with torch.no_grad():
        head.weight *= 0.01
    start = {"head.fc.weight": head.weight.tolist(), "head.fc.bias": head.bias.tolist()}
    optimizer, scaler = torch.optim.Adam(head.parameters(), lr=1e-4), torch.amp.GradScaler("cpu")
    found, scales = [], []
    x = torch.tensor(images).permute(0, 3, 1, 2).float() / 255
    y = torch.arange(40) % 5
    for step in range(steps):
        at = step * batch % 40
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.float16):
            with torch.no_grad():
                features = net(x[at:at + batch]).float()
            logits = head(features).float()
        loss = torch.nn.functional.cross_entropy(logits, y[at:at + batch])
        scales.append(scaler.get_scale())
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        found.append(loss.item())
    return {"head": start, "losses": found, "scales": scales}


def main():
    OUT.mkdir(exist_ok=True)
    (OUT / "optimizers.json").write_text(json.dumps(optimizers(), indent=1))
    images = pictures()
    (OUT / "pictures.u8").write_bytes(images.tobytes())
    runs = {"all.follow": losses(images, (), "follow")}
    for bn in ("follow", "inference", "train"):
        runs[f"until:layer2.{bn}"] = losses(images, ("layer2",), bn)
    (OUT / "smoothed.json").write_text(json.dumps(losses(images, (), "follow", smoothing=0.1), indent=1))
    (OUT / "mlp.json").write_text(json.dumps(mlp_losses(images), indent=1))
    (OUT / "loss_scaling.json").write_text(json.dumps(loss_scaling(), indent=1))
    (OUT / "float16.json").write_text(json.dumps(float16_losses(images), indent=1))
    (OUT / "schedules.json").write_text(json.dumps(schedules(), indent=1))
    (OUT / "recipes.json").write_text(json.dumps(recipes(images), indent=1))
    (OUT / "valleys.json").write_text(json.dumps(valleys(), indent=1))
    (OUT / "mixing.json").write_text(json.dumps(mixing()))
    (OUT / "losses.json").write_text(json.dumps(runs, indent=1))
    print("torch", torch.__version__, {name: values[-1] for name, values in runs.items()})


if __name__ == "__main__":
    main()
