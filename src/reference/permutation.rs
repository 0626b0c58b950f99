//! The seeded permutation of the labels.

/// A pseudo-random permutation of `0..cols`: the image of each index, computed from `(seed, row, cols)` and the index
/// alone, so that a GPU computes any element of it without a table, and gets the same bit for bit.
///
/// The swap-or-not shuffle (Hoang, Morris and Rogaway, CRYPTO 2012): in each of 24 rounds `x` and its mirror image
/// `(k - x) mod cols` change places or not, by a bit that both agree on. In u32 arithmetic that wraps:
///
/// ```text
/// mix(x):  x ^= x >> 16; x *= 0x7feb352d; x ^= x >> 15; x *= 0x846ca68b; x ^= x >> 16; return x
///
/// low, high = the two halves of the seed
/// a = mix(low ^ mix(high ^ mix(row ^ 0x9e3779b9)))
/// b = mix(high ^ mix(low ^ mix(row ^ 0x85ebca6b)))
/// image of x: for round in 1..=24:
///     k = mix(a + round * 0x9e3779b9) mod cols
///     mirror = x <= k ? k - x : k - x + cols
///     if mix(max(x, mirror) ^ mix(b + round * 0x85ebca6b)) & 1 == 1:  x = mirror
/// ```
///
/// Each round is its own inverse: the rounds from 24 down to 1 give the index of an image. The two hashes that do not
/// depend on `x` are the same for the whole row. Two given indices go to a pair of places that is uniform but for
/// about 1 in 2^24; the permutations of a few labels are all equally likely, as far as statistics can tell. The
/// generator is no cipher.
pub fn permutation(seed: u64, row: u32, cols: u32) -> Vec<u32> {
    let keys = keys(seed, row, cols);
    (0..cols).map(|x| image(&keys, cols, x)).collect()
}

const ROUNDS: u32 = 24;

/// Of each round, the sum of a pair that may swap and the key of the bits.
fn keys(seed: u64, row: u32, cols: u32) -> Vec<(u32, u32)> {
    let (low, high) = (seed as u32, (seed >> 32) as u32);
    let a = mix(low ^ mix(high ^ mix(row ^ 0x9e37_79b9)));
    let b = mix(high ^ mix(low ^ mix(row ^ 0x85eb_ca6b)));
    let key = |round: u32| {
        let k = mix(a.wrapping_add(round.wrapping_mul(0x9e37_79b9))) % cols.max(1);
        (k, mix(b.wrapping_add(round.wrapping_mul(0x85eb_ca6b))))
    };
    (1..=ROUNDS).map(key).collect()
}

fn image(keys: &[(u32, u32)], cols: u32, mut x: u32) -> u32 {
    for &(k, key) in keys {
        let mirror = if x <= k { k - x } else { cols - (x - k) };
        if mix(x.max(mirror) ^ key) & 1 == 1 {
            x = mirror;
        }
    }
    x
}

/// The hash `lowbias32` of Chris Wellons (public domain).
pub(super) fn mix(mut x: u32) -> u32 {
    x ^= x >> 16;
    x = x.wrapping_mul(0x7feb_352d);
    x ^= x >> 15;
    x = x.wrapping_mul(0x846c_a68b);
    x ^ (x >> 16)
}
