//! The seeded permutation.

use wgloss::reference::permutation;

/// Counts of equally likely outcomes, as standard deviations of the chi-square from its expectation.
fn excess(counts: &[usize]) -> f64 {
    let mean = counts.iter().sum::<usize>() as f64 / counts.len() as f64;
    let chi: f64 = counts
        .iter()
        .map(|&n| (n as f64 - mean).powi(2) / mean)
        .sum();
    let freedom = counts.len() as f64 - 1.0;
    (chi - freedom) / (2.0 * freedom).sqrt()
}

#[track_caller]
fn uniform(what: &str, counts: &[usize]) {
    let excess = excess(counts);
    assert!(excess < 4.0, "{what}: {excess} sd off, {counts:?}");
}

/// The number of a permutation among all of its length, by Lehmer code.
fn number(of: &[u32]) -> usize {
    (0..of.len()).fold(0, |number, i| {
        let smaller = of[i + 1..].iter().filter(|&&x| x < of[i]).count();
        number * (of.len() - i) + smaller
    })
}

#[test]
fn every_label_once() {
    let large = [1000, 4096, 4097, 65_535, 65_536, 100_003];
    for cols in (0..=300).chain(large) {
        for (seed, row) in [(0, 0), (0, 1), (7, 0), (u64::MAX, u32::MAX)] {
            let mut seen = vec![false; cols as usize];
            for image in permutation(seed, row, cols) {
                let seen = &mut seen[image as usize];
                assert!(!*seen, "{image} twice of {cols}, seed {seed}, row {row}");
                *seen = true;
            }
            assert!(seen.iter().all(|&seen| seen), "{cols}, seed {seed}");
        }
    }
}

/// seed, row, number of labels, the first images.
const PINNED: [(u64, u32, u32, &[u32]); 6] = [
    (0, 0, 8, &[2, 6, 3, 1, 0, 5, 7, 4]),
    (1, 0, 8, &[5, 6, 1, 3, 7, 2, 4, 0]),
    (1, 7, 8, &[4, 2, 3, 7, 1, 0, 5, 6]),
    (0x0123_4567_89ab_cdef, 2, 5, &[0, 2, 3, 1, 4]),
    (
        42,
        3,
        65_536,
        &[37_367, 53_088, 11_140, 34_144, 29_579, 58_213],
    ),
    (u64::MAX, u32::MAX, 1000, &[564, 173, 599, 819, 359, 605]),
];

/// What a second implementation of the algorithm gave.
#[test]
fn pinned() {
    for (seed, row, cols, want) in PINNED {
        assert_eq!(permutation(seed, row, cols)[..want.len()], *want);
    }
}

/// All permutations of few labels are equally likely over the seeds, and over the rows.
#[test]
fn all_permutations_are_equally_likely() {
    for (cols, all) in [(2, 2), (3, 6), (4, 24), (5, 120), (6, 720)] {
        let draws = 200 * all as u64;
        type Draw = fn(u64, u32) -> Vec<u32>;
        let draw: [(&str, Draw); 3] = [
            ("seeds", |i, cols| permutation(i, 0, cols)),
            ("rows", |i, cols| permutation(42, i as u32, cols)),
            ("high halves", |i, cols| permutation(i << 32, 3, cols)),
        ];
        for (over, draw) in draw {
            let mut counts = vec![0; all];
            for i in 0..draws {
                counts[number(&draw(i, cols))] += 1;
            }
            uniform(&format!("{cols} labels, over {over}"), &counts);
        }
    }
}

/// Neighbouring seeds and rows have nothing to do with each other.
#[test]
fn neighbours_are_independent() {
    let mut counts = [const { [0; 24 * 24] }; 3];
    for i in 0..30_000 {
        let first = number(&permutation(i, 5, 4)) * 24;
        for (counts, (seed, row)) in counts.iter_mut().zip([(i + 1, 5), (i, 6), (i + 1, 4)]) {
            counts[first + number(&permutation(seed, row, 4))] += 1;
        }
    }
    for (counts, what) in counts.iter().zip(["next seed", "next row", "both"]) {
        uniform(what, counts);
    }
}

/// Where a label goes, and where two neighbours go: what the weighted difference relies on.
#[test]
fn places_and_pairs_of_places_are_uniform() {
    for cols in [7, 12, 16, 33] {
        let n = cols as usize;
        let (mut places, mut pairs) = (vec![0; n * n], vec![vec![0; n * n]; n - 1]);
        for seed in 0..10_000 {
            let order = permutation(seed, 1, cols);
            for (k, &image) in order.iter().enumerate() {
                places[k * n + image as usize] += 1;
            }
            for (k, pair) in order.windows(2).enumerate() {
                pairs[k][pair[0] as usize * n + pair[1] as usize] += 1;
            }
        }
        for place in places.chunks(n) {
            uniform(&format!("{cols} labels, place"), place);
        }
        for mut pairs in pairs {
            let equal = |at: usize| at / n == at % n;
            assert!((0..n * n).all(|at| !equal(at) || pairs[at] == 0));
            let mut at = 0;
            pairs.retain(|_| {
                at += 1;
                !equal(at - 1)
            });
            uniform(&format!("{cols} labels, pair"), &pairs);
        }
    }
    // many labels: the images of one, and of two neighbours, in 16 ranges
    for cols in [1000, 65_536] {
        let (mut places, mut pairs) = (vec![0; 16], vec![0; 256]);
        let range = |image: u32| (u64::from(image) * 16 / u64::from(cols)) as usize;
        for seed in 0..40 {
            for pair in permutation(seed, 0, cols).chunks_exact(2).step_by(9) {
                places[range(pair[0])] += 1;
                pairs[range(pair[0]) * 16 + range(pair[1])] += 1;
            }
        }
        uniform(&format!("{cols} labels, ranges"), &places);
        uniform(&format!("{cols} labels, pairs of ranges"), &pairs);
    }
}
