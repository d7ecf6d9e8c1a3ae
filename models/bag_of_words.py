#!/usr/bin/env python3
"""The classifier to beat: TF-IDF of words and pairs of words, and logistic regression, with PyTorch alone.

    bag_of_words.py TRAIN.csv TEST.csv      prints the accuracy and the macro F1

As scikit-learn's TfidfVectorizer (ngram_range=(1, 2), sublinear_tf=True) and LogisticRegression have it; how much the weights are
held down is chosen by five-fold cross-validation on the training texts.
"""
import argparse
import collections
import csv
import json
import math
import re

import torch


def read(path):
    with open(path, newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return [row["text"] for row in rows], [row["label"] for row in rows]


def terms(text):
    words = re.findall(r"\w\w+", text.lower())
    return words + [f"{a} {b}" for a, b in zip(words, words[1:])]


class TfIdf:
    def __init__(self, texts):
        counts = collections.Counter(term for text in texts for term in set(terms(text)))
        self.index = {term: i for i, term in enumerate(sorted(counts))}
        self.weights = {term: math.log((1 + len(texts)) / (1 + count)) + 1 for term, count in counts.items()}

    def __call__(self, texts):
        rows = torch.zeros(len(texts), len(self.index))
        for row, text in zip(rows, texts):
            for term, count in collections.Counter(terms(text)).items():
                if term in self.index:
                    row[self.index[term]] = (1 + math.log(count)) * self.weights[term]
        return torch.nn.functional.normalize(rows, dim=1)


def fitted(x, y, classes, c):
    """The weights and biases that minimise c * (sum of cross-entropies) + |weights|^2 / 2."""
    weights, biases = torch.zeros(x.shape[1], classes, requires_grad=True), torch.zeros(classes, requires_grad=True)
    optimizer = torch.optim.LBFGS([weights, biases], max_iter=200, line_search_fn="strong_wolfe")

    def closure():
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(x @ weights + biases, y, reduction="sum") + weights.square().sum() / (2 * c)
        loss.backward()
        return loss

    optimizer.step(closure)
    return weights.detach(), biases.detach()


def predicted(texts, labels, others, classes, c):
    vectorize = TfIdf(texts)
    weights, biases = fitted(vectorize(texts), labels, classes, c)
    return (vectorize(others) @ weights + biases).argmax(1)


def chosen(texts, labels, classes, folds=5):
    """The c with the best accuracy on texts that were held out."""
    order = torch.randperm(len(texts), generator=torch.Generator().manual_seed(0))
    right = collections.Counter()
    for fold in range(folds):
        held_out = torch.zeros(len(texts), dtype=torch.bool)
        held_out[order[fold::folds]] = True
        inside, outside = (~held_out).nonzero().flatten().tolist(), held_out.nonzero().flatten().tolist()
        for c in (0.1, 1, 10, 100, 1000):
            found = predicted([texts[i] for i in inside], labels[inside], [texts[i] for i in outside], classes, c)
            right[c] += int((found == labels[outside]).sum())
    return max(right, key=lambda c: (right[c], -c))


def macro_f1(found, labels, classes):
    scores = []
    for k in range(classes):
        true_positives = int(((found == k) & (labels == k)).sum())
        scores.append(2 * true_positives / max(1, int((found == k).sum() + (labels == k).sum())))
    return sum(scores) / classes


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("train")
    parser.add_argument("test")
    args = parser.parse_args()
    texts, names = read(args.train)
    others, other_names = read(args.test)
    index = {name: i for i, name in enumerate(sorted(set(names)))}
    labels, expected = (torch.tensor([index[name] for name in some]) for some in (names, other_names))
    c = chosen(texts, labels, len(index))
    found = predicted(texts, labels, others, len(index), c)
    print(json.dumps({"accuracy": round(float((found == expected).double().mean()), 4), "macro_f1": round(macro_f1(found, expected, len(index)), 4),
                      "c": c, "texts": len(texts)}))


if __name__ == "__main__":
    main()
