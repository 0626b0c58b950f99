// Symmetric KL of Bernoulli(sigma(beta s)) and Bernoulli(sigma(beta u)), label by label:
// beta (p - r)(s - u), p = sigma(beta s), r = sigma(beta u). The targets are the other logits u,
// and the second gradient goes to them.
// provides: Settings, label_loss, label_slopes
// expects:  math, Labels, Grads

struct Settings {
    beta: f32,
}

// p - r without the cancellation of two probabilities near 1: sigma(x) sigma(-y) (1 - e^(y - x)) for x > y.
fn difference(x: vec4<f32>, y: vec4<f32>) -> vec4<f32> {
    let high = max(x, y);
    let low = min(x, y);
    return sign(x - y) * sigmoid4(high) * sigmoid4(-low) * -expm1_4(low - high);
}

fn label_loss(e: Labels) -> vec4<f32> {
    let beta = params.own.beta;
    return beta * difference(beta * e.logit, beta * e.label) * (e.logit - e.label);
}

fn label_slopes(e: Labels) -> Grads {
    let beta = params.own.beta;
    let x = beta * e.logit;
    let y = beta * e.label;
    let apart = x - y;
    let d = difference(x, y);
    return Grads(
        beta * (sigmoid4(x) * sigmoid4(-x) * apart + d),
        beta * (-sigmoid4(y) * sigmoid4(-y) * apart - d),
    );
}
