#!/usr/bin/env python3
"""Make tests/fixtures/metrics.json: metrics of random predictions with many ties, as scikit-learn 1.9.1 has them.

    pip install scikit-learn==1.9.1 numpy==2.4.6
    python3 tools/metrics.py tests/fixtures/metrics.json

Logits are given as whole quarters, exact in every element type; targets as the positive labels of each row. One-error and
precision@k, which scikit-learn lacks, come from a stable sort of the logits. The same versions give the same bytes.
"""

import json
import sys

import numpy
import sklearn
from sklearn import metrics

TOP = 5
# Rows, labels, share of positives, spread of the logits in quarters, threshold.
CASES = [
    (40, 6, 0.4, 3, 0.0),
    (30, 14, 0.3, 12, 0.25),
    (25, 33, 0.1, 8, -0.5),
    (8, 130, 0.05, 20, 1.0),
    (5, 700, 0.02, 60, 3.0),
    (7, 40, 0.5, 0, 0.0),
]


def row_values(scores, truth):
    """One-error and precision@k for k up to TOP: of labels that tie, the lowest number is first."""
    order = numpy.argsort(-scores, axis=1, kind="stable")
    ranked = numpy.take_along_axis(truth, order, axis=1)
    values = {"one_error": float(numpy.mean(1 - ranked[:, 0]))}
    for k in range(1, TOP + 1):
        values[f"precision@{k}"] = float(numpy.mean(ranked[:, :k].sum(axis=1) / k))
    return values


def case(random, rows, cols, share, spread, threshold):
    truth = (random.random((rows, cols)) < share).astype(int)
    # Neither all right nor all wrong.
    normal = random.normal(size=(rows, cols)) + 2.5 * truth - 1.5
    quarters = numpy.rint(normal * spread).astype(int)
    # A row without positives, one in which all labels tie.
    truth[0], quarters[1] = 0, 4
    if rows % 2 == 0:
        # A row with positives alone.
        truth[2] = 1
    else:
        # A label that is nowhere positive, and hardly predicted.
        truth[:, 0], quarters[2:, 0] = 0, -400
    scores = quarters / 4
    predicted = (scores > threshold).astype(int)
    f1 = lambda average: float(metrics.f1_score(truth, predicted, average=average, zero_division=0))
    return {
        "rows": rows,
        "cols": cols,
        "threshold": threshold,
        "quarters": [int(q) for q in quarters.ravel()],
        "positives": [[int(j) for j in numpy.flatnonzero(row)] for row in truth],
        "values": {
            "f1_micro": f1("micro"),
            "f1_macro": f1("macro"),
            "f1_samples": f1("samples"),
            "subset_accuracy": float(metrics.accuracy_score(truth, predicted)),
            "hamming_loss": float(metrics.hamming_loss(truth, predicted)),
            "ranking_loss": float(metrics.label_ranking_loss(truth, scores)),
            "average_precision": float(metrics.label_ranking_average_precision_score(truth, scores)),
            "coverage_error": float(metrics.coverage_error(truth, scores)),
            **row_values(scores, truth),
        },
    }


def main():
    random = numpy.random.default_rng(1)
    fixture = {
        "versions": {"scikit-learn": sklearn.__version__, "numpy": numpy.__version__},
        "top": TOP,
        "cases": [case(random, *shape) for shape in CASES],
    }
    with open(sys.argv[1], "w") as file:
        json.dump(fixture, file)
        file.write("\n")


if __name__ == "__main__":
    main()
