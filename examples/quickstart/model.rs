//! A network with one hidden layer, its backward pass and its optimiser, in plain loops: the sets here are small.

// Dropout and decay of the weights: without them a thousand samples are soon learnt by heart.
const KEEP: f32 = 0.5;
const DECAY: f32 = 0.5;

/// `SplitMix64`, seeded.
pub struct Rng(u64);

impl Rng {
    /// The same numbers for the same seed.
    pub fn new(seed: u64) -> Self {
        Rng(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Uniform in `[0, 1)`.
    fn unit(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1u64 << 24) as f32
    }

    /// Puts the items in a random order.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            let other = self.next() % (last as u64 + 1); // the bias of the remainder is below 2^-50 here
            items.swap(last, other as usize);
        }
    }
}

/// Numbers that are learnt, by `AdamW`.
pub struct Parameter {
    /// As they are now.
    pub value: Vec<f32>,
    mean: Vec<f32>,
    square: Vec<f32>,
    steps: i32,
}

impl Parameter {
    /// Begins with these.
    pub fn new(value: Vec<f32>) -> Self {
        Parameter {
            mean: vec![0.0; value.len()],
            square: vec![0.0; value.len()],
            value,
            steps: 0,
        }
    }

    /// One step down the gradient.
    pub fn learn(&mut self, gradient: &[f32], rate: f32, decay: f32) {
        const MEAN: f32 = 0.9;
        const SQUARE: f32 = 0.999;
        self.steps += 1;
        let mean_scale = 1.0 / (1.0 - MEAN.powi(self.steps));
        let square_scale = 1.0 / (1.0 - SQUARE.powi(self.steps));
        for (i, g) in gradient.iter().enumerate() {
            self.mean[i] = MEAN * self.mean[i] + (1.0 - MEAN) * g;
            self.square[i] = SQUARE * self.square[i] + (1.0 - SQUARE) * g * g;
            let step = self.mean[i] * mean_scale / ((self.square[i] * square_scale).sqrt() + 1e-8);
            self.value[i] -= rate * (step + decay * self.value[i]);
        }
    }
}

/// `x W + b`, `W` being `[inputs, outputs]`.
struct Linear {
    outputs: usize,
    weight: Parameter,
    bias: Parameter,
}

impl Linear {
    fn new(inputs: usize, outputs: usize, rng: &mut Rng) -> Self {
        let bound = (6.0 / inputs as f32).sqrt(); // He et al., uniform
        let weight = (0..inputs * outputs).map(|_| bound * (2.0 * rng.unit() - 1.0));
        Linear {
            outputs,
            weight: Parameter::new(weight.collect()),
            bias: Parameter::new(vec![0.0; outputs]),
        }
    }

    fn inputs(&self) -> usize {
        self.weight.value.len() / self.outputs
    }

    fn forward(&self, x: &[f32]) -> Vec<f32> {
        let mut out = Vec::with_capacity(x.len() / self.inputs() * self.outputs);
        for row in x.chunks_exact(self.inputs()) {
            let at = out.len();
            out.extend_from_slice(&self.bias.value);
            for (x, weights) in row.iter().zip(self.weight.value.chunks_exact(self.outputs)) {
                add_scaled(&mut out[at..], *x, weights);
            }
        }
        out
    }

    /// The gradient to the input of [`Linear::forward`].
    fn backward(&self, gradient: &[f32]) -> Vec<f32> {
        let mut out = Vec::with_capacity(gradient.len() / self.outputs * self.inputs());
        for row in gradient.chunks_exact(self.outputs) {
            let columns = self.weight.value.chunks_exact(self.outputs);
            out.extend(columns.map(|w| row.iter().zip(w).map(|(g, w)| g * w).sum::<f32>()));
        }
        out
    }

    /// One step down the gradient to the output.
    fn learn(&mut self, x: &[f32], gradient: &[f32], rate: f32) {
        let mut to_weight = vec![0.0; self.weight.value.len()];
        let mut to_bias = vec![0.0; self.outputs];
        let rows = x.chunks_exact(self.inputs());
        for (row, gradient) in rows.zip(gradient.chunks_exact(self.outputs)) {
            add_scaled(&mut to_bias, 1.0, gradient);
            for (x, to_weight) in row.iter().zip(to_weight.chunks_exact_mut(self.outputs)) {
                add_scaled(to_weight, *x, gradient);
            }
        }
        self.weight.learn(&to_weight, rate, DECAY);
        self.bias.learn(&to_bias, rate, 0.0);
    }
}

/// `sum += factor * values`: the loop that the compiler makes vector instructions of.
fn add_scaled(sum: &mut [f32], factor: f32, values: &[f32]) {
    for (sum, value) in sum.iter_mut().zip(values) {
        *sum += factor * value;
    }
}

/// Linear, `ReLU`, linear.
pub struct Mlp {
    first: Linear,
    second: Linear,
}

/// What a forward pass in training gives, and the backward pass needs.
pub struct Activations {
    hidden: Vec<f32>,
    /// One for each row and output.
    pub logits: Vec<f32>,
}

impl Mlp {
    /// A network of inputs, hidden units, outputs.
    pub fn new([inputs, hidden, outputs]: [usize; 3], rng: &mut Rng) -> Self {
        Mlp {
            first: Linear::new(inputs, hidden, rng),
            second: Linear::new(hidden, outputs, rng),
        }
    }

    /// The logits of some rows.
    pub fn predict(&self, x: &[f32]) -> Vec<f32> {
        let mut hidden = self.first.forward(x);
        for unit in &mut hidden {
            *unit = unit.max(0.0);
        }
        self.second.forward(&hidden)
    }

    /// The logits of some rows while training: with dropout.
    pub fn forward(&self, x: &[f32], rng: &mut Rng) -> Activations {
        let mut hidden = self.first.forward(x);
        for unit in &mut hidden {
            let kept = rng.unit() < KEEP;
            *unit = if kept { unit.max(0.0) / KEEP } else { 0.0 };
        }
        let logits = self.second.forward(&hidden);
        Activations { hidden, logits }
    }

    /// One step of the optimiser from the loss's gradient to the logits.
    pub fn learn(&mut self, x: &[f32], activations: &Activations, grad_logits: &[f32], rate: f32) {
        let mut gradient = self.second.backward(grad_logits);
        for (gradient, unit) in gradient.iter_mut().zip(&activations.hidden) {
            // 0 where the unit was negative or dropped.
            *gradient = if *unit > 0.0 { *gradient / KEEP } else { 0.0 };
        }
        self.second.learn(&activations.hidden, grad_logits, rate);
        self.first.learn(x, &gradient, rate);
    }
}
