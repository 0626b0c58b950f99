// The winners of the other classes, level by level: a step looks at a few classes, and at the winners that steps of
// lower levels have found. A lane has a step of a row.
//
// Grid: blocks of elements `begin` to `end` of a level, the level's steps of one row after those of another; folded.
// provides: climb, found (binding 7)
// expects:  WG, LOOKS, group_index, math, best, params and logit_bits of mcm/logits.wgsl, put_term of
//           mcm/class.wgsl, positive, counts, add_win, put_probability

// Of each step key and class of the best, and of the best positive.
@group(0) @binding(7) var<storage, read_write> found: array<vec4<u32>>;

// The best of all candidates, and of the positive ones. A NaN wins the first.
struct Winners {
    all: Best,
    positives: Best,
}

fn compete(winners: Winners, row: u32, col: u32, is_positive: bool) -> Winners {
    let here = Best(order_key(logit_bits(row, col)), col);
    let better = best_of(winners.positives, here);
    let counts = is_positive && here.key != NAN_KEY;
    return Winners(
        best_of(winners.all, here),
        Best(
            select(winners.positives.key, better.key, counts),
            select(winners.positives.index, better.index, counts),
        ),
    );
}

@compute @workgroup_size(WG)
fn climb(
    @builtin(local_invocation_index) lane: u32,
    @builtin(workgroup_id) group: vec3<u32>,
) {
    let element = params.begin + group_index(group) * WG + lane;
    if (element >= params.end) {
        return;
    }
    let row = element / params.step_count;
    let step = params.first_step + element % params.step_count;
    let cols = params.cols;
    let entries = params.entries_at;
    let of_row = row * params.steps;
    let col = hierarchy[params.classes_at + step];
    let starts = params.starts_at + 2u * step;
    let is_positive = col < cols && positive(row, min(col, cols - 1u));
    var winners = Winners(best_none(), best_none());
    if (col < cols) {
        winners = compete(winners, row, col, is_positive);
    }
    // Nobody has checked what lies on the device: no loop is longer than a step's, no class or step is one there is not.
    var i = hierarchy[starts];
    let middle = min(hierarchy[starts + 1u], i + LOOKS);
    if (i < middle) {
        loop {
            let other = min(hierarchy[entries + i], cols - 1u);
            winners = compete(winners, row, other, positive(row, other));
            i++;
            continuing {
                break if i >= middle;
            }
        }
    }
    let end = min(hierarchy[starts + 2u], i + LOOKS);
    if (i < end) {
        loop {
            let below = found[of_row + min(hierarchy[entries + i], params.steps - 1u)];
            winners.all = best_of(winners.all, Best(below.x, below.y));
            winners.positives = best_of(winners.positives, Best(below.z, below.w));
            i++;
            continuing {
                break if i >= end;
            }
        }
    }
    let all = winners.all;
    let positives = winners.positives;
    found[of_row + step] = vec4<u32>(all.key, all.index, positives.key, positives.index);
    if (col >= cols) {
        return;
    }
    let winner = Best(select(all.key, positives.key, is_positive), select(all.index, positives.index, is_positive));
    if (params.want_terms != 0u) {
        put_term(row, col, all.key, winner.key, is_positive);
    }
    // A positive class whose positives are all NaN has none.
    if (params.want_wins != 0u && winner.index < cols && counts(row, col)) {
        add_win(row * cols + winner.index, col, is_positive);
    }
    put_probability(row, col, all.key);
}
