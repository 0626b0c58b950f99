// Sweeps of a lane over its vectors of a row: `own`, and every `width`-th from there on, from step `first` up to `end`.
// Where `own` has no vector it meets one beyond the row, in which no label is inside. Loops test at their end, since a
// software driver runs others once more; blocks keep each accumulator to a few hundred numbers.
// provides: sweep_tally, sweep_gradient
// expects:  params, Row, Acc, acc_start, lane_merge, Tally, tally_start, tally_end, tally_step, gradient_step, Coef

fn sweep_tally(row: Row, own: u32, first: u32, end: u32, base: Acc) -> Acc {
    let width = params.grid.width;
    let block = params.grid.block;
    var acc = acc_start();
    var start = first;
    loop {
        let to = min(start + block, end);
        var tally = tally_start(base);
        var k = start + own;
        loop {
            tally_step(&tally, row, k);
            continuing {
                k += width;
                break if k >= to;
            }
        }
        acc = lane_merge(acc, tally_end(tally));
        continuing {
            start += block;
            break if start >= end;
        }
    }
    return acc;
}

fn sweep_gradient(row: Row, own: u32, first: u32, end: u32, coef: Coef) {
    let width = params.grid.width;
    var k = first + own;
    loop {
        gradient_step(row, k, coef);
        continuing {
            k += width;
            break if k >= end;
        }
    }
}
