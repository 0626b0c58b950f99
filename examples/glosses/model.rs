//! The simplest encoder of a bag of words: the weighted sum of a vector for each word; and the optimiser, Adagrad.

/// Numbers that are learnt, with Adagrad's sums of squares.
pub struct Weights {
    pub values: Vec<f32>,
    squares: Vec<f32>,
    rate: f32,
}

impl Weights {
    /// Uniform in `(-size, size)`.
    pub fn random(rng: &mut Rng, len: usize, size: f32, rate: f32) -> Self {
        Weights::new((0..len).map(|_| size * rng.signed()).collect(), rate)
    }

    /// From these values.
    pub fn new(values: Vec<f32>, rate: f32) -> Self {
        Weights {
            squares: vec![1e-8; values.len()],
            values,
            rate,
        }
    }

    /// A step against the gradient of the values from `at` on.
    pub fn step(&mut self, at: usize, gradient: impl Iterator<Item = f32>) {
        for (i, g) in (at..).zip(gradient) {
            self.squares[i] += g * g;
            self.values[i] -= self.rate * g / self.squares[i].sqrt();
        }
    }
}

/// Words of a gloss, each with a weight.
type Bag = Vec<(usize, f32)>;

/// Features of some samples: `[samples, dim]`.
pub fn encode(table: &Weights, dim: usize, bags: &[Bag], samples: &[usize]) -> Vec<f32> {
    let mut features = vec![0.0; samples.len() * dim];
    for (row, sample) in features.chunks_mut(dim).zip(samples) {
        for &(word, weight) in &bags[*sample] {
            for (x, e) in row.iter_mut().zip(&table.values[word * dim..]) {
                *x += weight * e;
            }
        }
    }
    features
}

/// A step of the words' vectors by the gradient to the features.
pub fn learn(table: &mut Weights, dim: usize, bags: &[Bag], samples: &[usize], gradient: &[f32]) {
    for (row, sample) in gradient.chunks(dim).zip(samples) {
        for &(word, weight) in &bags[*sample] {
            table.step(word * dim, row.iter().map(|g| weight * g));
        }
    }
}

/// A small generator of random numbers (splitmix64).
pub struct Rng(pub u64);

impl Rng {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// In `[-1, 1)`.
    pub fn signed(&mut self) -> f32 {
        (self.next() >> 40) as f32 / 8_388_608.0 - 1.0
    }

    /// All numbers below `n`, in random order.
    pub fn shuffled(&mut self, n: usize) -> Vec<usize> {
        let mut all: Vec<usize> = (0..n).collect();
        for i in (1..n).rev() {
            all.swap(i, (self.next() % (i as u64 + 1)) as usize);
        }
        all
    }
}
