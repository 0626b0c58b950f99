// The largest of the numbers that the lanes of a workgroup have.
// provides: largest_of
// expects:  WG

var<workgroup> wg_largest: array<u32, WG>;

// In all lanes. All of them must call it.
fn largest_of(mine: u32, lane: u32) -> u32 {
    // What was there has been read.
    workgroupBarrier();
    wg_largest[lane] = mine;
    // Every lane's number is there before they are compared.
    workgroupBarrier();
    for (var reach = WG / 2u; reach > 0u; reach /= 2u) {
        if (lane < reach) {
            wg_largest[lane] = max(wg_largest[lane], wg_largest[lane + reach]);
        }
        // A level is complete before the next reads it.
        workgroupBarrier();
    }
    return wg_largest[0];
}
