// All pairs' squares with weights a_i a_j:  D = A sum a (e - mu)^2  with  A = sum a, mu = sum a e / A;  h = 2 A a (e - mu),
// c = A (e - mu)^2 + sum a (e - mu)^2.
// provides: ABOUT_MEAN, square_terms, square_about, square_found, square_slopes
// expects:  Found, sum_of

// Whether a second sweep sums about the mean.
const ABOUT_MEAN = true;

// Sums over four labels, of which those that do not count have weight and value 0.
fn square_terms(a: vec4<f32>, e: vec4<f32>, mu: f32) -> vec4<f32> {
    let apart = e - mu;
    return vec4<f32>(sum_of(a), sum_of(a * e), sum_of(a * apart * apart), 0.0);
}

// The mean, from the sums about 0.
fn square_about(sums: vec4<f32>) -> f32 {
    return select(0.0, sums.y / sums.x, sums.x > 0.0);
}

// From the sums about the mean.
fn square_found(sums: vec4<f32>, mu: f32, n: f32, scale: f32) -> Found {
    return Found(sums.x * sums.z, sums.x, mu, scale * sums.x, mu, scale * sums.z);
}

fn square_slopes(f: Found, n: f32, a: vec4<f32>, e: vec4<f32>) -> vec4<f32> {
    return 2.0 * f.weights * a * (e - f.centre);
}
