#!/usr/bin/env python3
"""Writes tests/golden/explain: heat maps, projections and colours by PyTorch, scikit-learn and matplotlib.

    make_explain_vectors.py          (needs torch, numpy, scikit-learn with scipy, matplotlib, and networks/input.f32)

grad_cam.json: cases, each a network, a layer and a class, or null for the predicted one. grad_cam.f32 [cases, 2, 32, 32]: their
heat maps for input.f32, by gradients that PyTorch keeps in eager mode, the networks' activations not in place.
features.f32 [200, 12]: five clouds of points. embeddings.json: scikit-learn's principal components of them, the divergence and
trustworthiness (van der Maaten 2009, five neighbours) of its exact t-SNE, and the rows most like the first three by cosine.
colormaps.json: matplotlib's colours at 0, 1/15, ... 1.
"""
import json
import pathlib

import matplotlib
import numpy as np
import torch
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE, trustworthiness
from torch import nn
from torch.nn import functional as F

import make_networks

OUT = pathlib.Path(__file__).resolve().parent / "explain"
CASES = [("resnet", "layer2", None), ("resnet", "layer2", 3), ("resnet", "layer2.1.relu", 0), ("resnet", "layer2.0.conv2", 2),
         ("resnet", "layer1", 1), ("resnet", "conv1", 4), ("vgg", "features", None), ("vgg", "features.3", 4), ("vgg", "features.0", 0)]


def network(name):
    net = make_networks.randomise(*{"resnet": (make_networks.TinyResNet(), 2), "vgg": (make_networks.TinyVgg(), 3)}[name])
    for module in net.modules():
        if isinstance(module, nn.ReLU):
            module.inplace = False
    return net


def grad_cam(net, layer, index, x):
    """Selvaraju et al. 2017, equations 1 and 2."""
    kept = {}

    def keep(_, args, result):
        result.retain_grad()
        kept["map"] = result

    hook = net.get_submodule(layer).register_forward_hook(keep)
    logits = net(x)
    hook.remove()
    classes = logits.argmax(1) if index is None else torch.full((len(x),), index)
    logits[torch.arange(len(x)), classes].sum().backward()
    weights = kept["map"].grad.mean((2, 3), keepdim=True)
    heat = F.interpolate(F.relu((weights * kept["map"]).sum(1, keepdim=True)), x.shape[2:], mode="bilinear")[:, 0].detach()
    return (heat / heat.amax((1, 2), keepdim=True).clamp_min(1e-30)).numpy()


def nearest(features, row, k):
    similarity = features @ features[row] / np.linalg.norm(features, axis=1) / np.linalg.norm(features[row])
    order = np.argsort(-similarity, kind="stable")[:k]
    return {"rows": order.tolist(), "similarities": similarity[order].tolist()}


def main():
    OUT.mkdir(exist_ok=True)
    x = torch.from_numpy(np.fromfile(make_networks.OUT / "input.f32", dtype="<f4").reshape(2, 3, 32, 32).copy())
    maps = np.stack([grad_cam(network(name), layer, index, x) for name, layer, index in CASES])
    maps.astype("<f4").tofile(OUT / "grad_cam.f32")
    (OUT / "grad_cam.json").write_text(json.dumps([{"network": n, "layer": l, "class": c} for n, l, c in CASES], indent=1) + "\n")

    rng = np.random.default_rng(0)
    features = (np.repeat(rng.normal(0, 3, (5, 12)), 40, 0) + rng.normal(0, 1, (200, 12))).astype("<f4")
    features.tofile(OUT / "features.f32")
    plane = TSNE(method="exact", random_state=0)
    places = plane.fit_transform(features)
    (OUT / "embeddings.json").write_text(json.dumps({
        "pca": PCA(2, svd_solver="full").fit_transform(features.astype(np.float64)).tolist(),
        "tsne": {"kl_divergence": float(plane.kl_divergence_), "trustworthiness": float(trustworthiness(features, places))},
        "nearest": [nearest(features.astype(np.float64), row, 7) for row in range(3)]}) + "\n")
    (OUT / "colormaps.json").write_text(json.dumps(
        {name: matplotlib.colormaps[name](np.linspace(0, 1, 16), bytes=True)[:, :3].tolist() for name in ("viridis", "magma", "turbo")}) + "\n")


if __name__ == "__main__":
    main()
