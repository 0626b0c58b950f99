// A row, or a chunk of one, has one lane.
// provides: row_merge
// expects:  Lane, Group, Acc

fn row_merge(at: Lane, group: Group, acc: Acc) -> Acc {
    return acc;
}
