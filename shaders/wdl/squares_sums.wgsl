// All pairs' squares with weights (a_i + a_j) / 2. Since both distributions sum to 1, e sums to 0:
// D = 1/2 (n sum a e^2 + A sum e^2)  with  A = sum a;  h = a n e + A e - sum a e,  c = 1/2 (n e^2 + sum e^2).
// provides: ABOUT_MEAN, square_terms, square_about, square_found, square_slopes
// expects:  Found, sum_of

// Whether a second sweep sums about the mean.
const ABOUT_MEAN = false;

// Sums over four labels, of which those that do not count have weight and value 0.
fn square_terms(a: vec4<f32>, e: vec4<f32>, mu: f32) -> vec4<f32> {
    return vec4<f32>(sum_of(a), sum_of(a * e), sum_of(a * e * e), sum_of(e * e));
}

fn square_about(sums: vec4<f32>) -> f32 {
    return 0.0;
}

fn square_found(sums: vec4<f32>, mu: f32, n: f32, scale: f32) -> Found {
    let total = 0.5 * (n * sums.z + sums.x * sums.w);
    return Found(total, sums.x, sums.y, 0.5 * scale * n, 0.0, 0.5 * scale * sums.w);
}

fn square_slopes(f: Found, n: f32, a: vec4<f32>, e: vec4<f32>) -> vec4<f32> {
    return (n * a + f.weights) * e - f.centre;
}
