// What becomes of the sums over the keys of a tile.
// provides: fold
// expects:  params, Acc, together, sums_at, put_sums

// Puts them to those over the tiles before.
fn fold(row4: u32, acc: Acc) {
    var all = acc;
    if (params.grid.add != 0u) {
        all = together(sums_at(row4), acc);
    }
    put_sums(row4, all);
}
