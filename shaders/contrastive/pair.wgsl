// Eight own rows and four other rows whose pairs are looked at: what is known of each beside its row of z.
// provides: Rows, Others, EightRows, rows_at, others_at
// expects:  params, Eight, own_set, own_eight, other_set, kept_four

// Of four own rows: sizes of their sets, with what stands beside them, and which key each is itself.
struct Rows {
    sizes: vec4<u32>,
    itself: vec4<u32>,
}

// Of four other rows: sizes, their numbers among all, and which of them there are and count.
struct Others {
    sizes: vec4<u32>,
    numbers: vec4<u32>,
    inside: vec4<bool>,
}

// The first and the second four own rows.
struct EightRows {
    low: Rows,
    high: Rows,
}

fn rows_at(row4: u32, lane: u32) -> EightRows {
    let sizes = own_eight(params.row.words, row4, lane);
    let itself = own_eight(params.row.words + 1u, row4, lane);
    return EightRows(Rows(sizes.low, itself.low), Rows(sizes.high, itself.high));
}

// Beyond the last four there are none.
fn others_at(col4: u32) -> Others {
    let cols = vec4<u32>(4u * col4) + vec4<u32>(0u, 1u, 2u, 3u);
    let held = min(col4, (params.other.rows - 1u) / 4u);
    let sizes = other_set(params.row.words, held);
    return Others(
        sizes,
        cols + vec4<u32>(params.other.first),
        (cols < vec4<u32>(params.other.rows)) & kept_four(sizes),
    );
}
