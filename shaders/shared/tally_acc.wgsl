// For statistics that are gathered label by label as exactly as they are kept.
// provides: Tally, tally_start, tally_add, tally_end
// expects:  Acc, acc_start, acc_add

alias Tally = Acc;

fn tally_start(base: Acc) -> Tally {
    return acc_start();
}

fn tally_add(tally: ptr<function, Tally>, e: Labels) {
    acc_add(tally, e);
}

fn tally_end(tally: Tally) -> Acc {
    return tally;
}
