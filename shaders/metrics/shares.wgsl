// Shares of 1 as whole multiples of 1 / ONE, to nearest, by long division: the same on every device.
// provides: share, mean_share
// expects:  ONE

// a / b, with a <= b and 0 < b < 2^31.
fn share(a: u32, b: u32) -> u32 {
    var quotient = a / b;
    var rest = a % b;
    for (var bit = 1u; bit < ONE; bit *= 2u) {
        rest *= 2u;
        let fits = rest >= b;
        quotient = 2u * quotient + u32(fits);
        rest -= select(0u, b, fits);
    }
    return quotient + u32(2u * rest >= b);
}

// (low + 2^32 high) / b, the mean of b shares, with 0 < b < 2^31.
fn mean_share(low: u32, high: u32, b: u32) -> u32 {
    // The quotient is at most ONE, so what the high word leaves is all that matters of it.
    var quotient = 0u;
    var rest = high % b;
    for (var bit = 32u; bit > 0u; bit--) {
        rest = 2u * rest + ((low >> (bit - 1u)) & 1u);
        let fits = rest >= b;
        quotient = 2u * quotient + u32(fits);
        rest -= select(0u, b, fits);
    }
    return quotient + u32(2u * rest >= b);
}
