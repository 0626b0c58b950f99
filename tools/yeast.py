#!/usr/bin/env python3
"""Make examples/data/yeast.safetensors from the wheel of river 0.26.1.

    pip download river==0.26.1 --no-deps
    python3 tools/yeast.py river-0.26.1-*.whl examples/data/yeast.safetensors

Needs nothing but Python's standard library. The same wheel contents give the same bytes.
"""

import csv
import gzip
import io
import json
import struct
import sys
import zipfile

ROWS, FEATURES, LABELS = 2417, 103, 14
POSITIVES = [762, 1038, 983, 862, 722, 597, 428, 480, 178, 253, 289, 1816, 1799, 34]


def read(wheel):
    """The features and the labels, both row by row and in the order of the file."""
    with zipfile.ZipFile(wheel) as archive:
        text = gzip.decompress(archive.read("river/datasets/yeast.csv.gz")).decode("ascii")
    header, *rows = csv.reader(io.StringIO(text))
    assert header == [f"Att{i + 1}" for i in range(FEATURES)] + [f"Class{i + 1}" for i in range(LABELS)]
    assert all(len(row) == FEATURES + LABELS for row in rows)
    features = [[float(cell) for cell in row[:FEATURES]] for row in rows]
    labels = [[{"0": 0, "1": 1}[cell] for cell in row[FEATURES:]] for row in rows]
    return features, labels


def check(features, labels):
    """What is known of this data set; examples/data/README.md lists the same."""
    assert len(features) == len(labels) == ROWS
    assert [sum(column) for column in zip(*labels)] == POSITIVES
    assert round(sum(POSITIVES) / ROWS, 3) == 4.237
    assert len({tuple(row) for row in labels}) == 198
    assert all(1 <= sum(row) <= 11 for row in labels)
    values = [value for row in features for value in row]
    assert round(min(values), 3) == -0.797 and round(max(values), 3) == 0.730


def safetensors(features, labels):
    """The file: length of the header, the header (JSON, padded with spaces to 8 bytes), the data."""
    real = struct.pack(f"<{ROWS * FEATURES}f", *(value for row in features for value in row))
    flags = bytes(value for row in labels for value in row)
    header = {
        "__metadata__": {
            "name": "yeast (Elisseeff and Weston, 2001)",
            "source": "river 0.26.1, river/datasets/yeast.csv.gz",
            "published split": "rows 0..917 test, rows 917..2417 train",
        },
        "features": {"dtype": "F32", "shape": [ROWS, FEATURES], "data_offsets": [0, len(real)]},
        "labels": {"dtype": "U8", "shape": [ROWS, LABELS], "data_offsets": [len(real), len(real) + len(flags)]},
    }
    text = json.dumps(header, separators=(",", ":")).encode("ascii")
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + real + flags


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    features, labels = read(sys.argv[1])
    check(features, labels)
    with open(sys.argv[2], "wb") as out:
        out.write(safetensors(features, labels))


if __name__ == "__main__":
    main()
