#!/usr/bin/env python3
"""Writes tests/golden/train/evaluation.json: figures of evaluation, a temperature, thresholds, tests and intervals, computed by
scikit-learn, scipy, statsmodels and PyTorch.

    make_evaluation_vectors.py          (needs torch, numpy, scikit-learn, scipy, statsmodels)
"""
import json
import pathlib
import warnings

import numpy as np
import torch
from scipy import optimize, stats
from sklearn import metrics
from statsmodels.stats.contingency_tables import mcnemar
from torch.nn import functional as F

OUT = pathlib.Path(__file__).resolve().parent / "train" / "evaluation.json"
N, CLASSES, BINS = 120, 6, 15


def data():
    """Logits of an overconfident classifier. Class 4 never occurs, class 5 is never predicted and never occurs; some scores are equal."""
    rng = np.random.default_rng(11)
    labels = rng.integers(0, 4, N)
    logits = rng.normal(0, 3, (N, CLASSES))
    logits[np.arange(N), labels] += 4
    logits[:, 5] -= 20
    logits[60:80] = logits[40:60]
    return np.round(logits, 3).astype(np.float32), labels


def expected_calibration_error(confidence, right):
    """Guo et al. 2017, equation 3, in NumPy."""
    edges, bins = np.linspace(0, 1, BINS + 1), []
    for low, high in zip(edges[:-1], edges[1:]):
        inside = (confidence > low) & (confidence <= high)
        bins.append([int(inside.sum()), *((float(confidence[inside].mean()), float(right[inside].mean())) if inside.any() else (0.0, 0.0))])
    return sum(count * abs(c - a) for count, c, a in bins) / len(right), bins


def scores(logits, labels):
    probabilities = F.softmax(torch.tensor(logits), 1).numpy()
    guesses = probabilities.argmax(1)
    averages = {kind: list(map(float, metrics.precision_recall_fscore_support(labels, guesses, average=kind, zero_division=0)[:3]))
                for kind in ("macro", "weighted")}
    roc_auc = [float(metrics.roc_auc_score(labels == c, probabilities[:, c])) if (labels == c).any() else None for c in range(CLASSES)]
    ece, bins = expected_calibration_error(probabilities.max(1), guesses == labels)
    losses = -F.log_softmax(torch.tensor(logits).double(), 1)[torch.arange(N), torch.tensor(labels)].numpy()
    return {"nll": float(metrics.log_loss(labels, F.softmax(torch.tensor(logits).double(), 1).numpy(), labels=range(CLASSES))), "ece": ece,
            "bins": bins, "roc_auc": roc_auc, "macro_roc_auc": float(np.mean([a for a in roc_auc if a is not None])), **averages,
            "top_losses": [[int(i), float(losses[i])] for i in np.argsort(-losses, kind="stable")[:7]]}


def intervals(logits, labels):
    """By scipy's bootstrap, with draws of its own: many, so that two runs hardly differ."""
    guesses = logits.argmax(1)

    def bootstrap(statistic):
        found = stats.bootstrap((labels, guesses), statistic, paired=True, vectorized=False, n_resamples=20_000, method="percentile",
                                rng=np.random.default_rng(0))
        return [float(found.confidence_interval.low), float(found.confidence_interval.high)]

    return {"accuracy": bootstrap(lambda y, g: np.mean(y == g)),
            "macro_f1": bootstrap(lambda y, g: metrics.f1_score(y, g, average="macro", zero_division=0))}


def temperature(logits, labels):
    """Guo et al.'s way, LBFGS, and scipy's, which must agree."""
    z, y = torch.tensor(logits).double(), torch.tensor(labels)
    t = torch.ones((), dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([t], lr=0.1, max_iter=2000, tolerance_grad=1e-13, tolerance_change=1e-15, line_search_fn="strong_wolfe")

    def closure():
        optimizer.zero_grad()
        loss = F.cross_entropy(z / t, y)
        loss.backward()
        return loss

    optimizer.step(closure)
    found = optimize.minimize_scalar(lambda x: F.cross_entropy(z / x, y).item(), bounds=(0.05, 20), method="bounded", options={"xatol": 1e-10})
    assert abs(found.x - t.item()) < 1e-5, (found.x, t.item())
    scaled = F.softmax(torch.tensor(logits) / t.item(), 1).numpy()
    return {"temperature": t.item(), "nll": F.cross_entropy(z / t, y).item(),
            "ece": expected_calibration_error(scaled.max(1), scaled.argmax(1) == labels)[0]}


def thresholds(logits, labels):
    """How many are answered, by trying every threshold."""
    probabilities = F.softmax(torch.tensor(logits), 1).numpy()
    confidence, right = probabilities.max(1), probabilities.argmax(1) == labels
    tried = [(int((confidence >= t).sum()), float(right[confidence >= t].mean())) for t in sorted(set(confidence))]
    return {"accuracy": [[wanted, next(n for n, accuracy in tried if accuracy >= wanted)] for wanted in (0.5, 0.85, 0.9, 0.95)],
            "coverage": [[wanted, min(n for n, _ in tried if n >= wanted * N)] for wanted in (0.1, 0.5, 0.75, 1.0)]}


def comparisons():
    tables, found = [(10, 20), (5, 5), (0, 6), (0, 0), (1, 0), (40, 80), (3000, 3200)], []
    for b, c in tables:
        table = [[30, b], [c, 9]]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            exact, chi = mcnemar(table, exact=True), mcnemar(table, exact=False, correction=True)
        found.append([b, c, float(exact.pvalue), *(map(float, (chi.statistic, chi.pvalue)) if b + c else (0.0, 1.0))])
    gained = np.repeat([-1, 0, 1], [10, 150, 20])
    interval = stats.bootstrap((gained,), np.mean, n_resamples=100_000, method="percentile", rng=np.random.default_rng(0)).confidence_interval
    return {"mcnemar": found, "difference": [float(interval.low), float(interval.high)]}


def main():
    logits, labels = data()
    OUT.write_text(json.dumps({"logits": [round(float(x), 3) for x in logits.flatten()], "labels": labels.tolist(), "scores": scores(logits, labels),
                               "intervals": intervals(logits, labels), "temperature": temperature(logits, labels),
                               "thresholds": thresholds(logits, labels), **comparisons()}, indent=None))


if __name__ == "__main__":
    main()
