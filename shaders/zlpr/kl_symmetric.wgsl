// Symmetric KL of Bernoulli(sigma(beta s)) and Bernoulli(sigma(beta u)), label by label:
// beta (p - r)(s - u), p = sigma(beta s), r = sigma(beta u). The targets are the other logits u,
// and the second gradient goes to them.
// provides: Settings, label_loss, label_grad
// expects:  math, element

struct Settings {
    beta: f32,
}

// p - r without the cancellation of two probabilities near 1: sigma(x) sigma(-y) (1 - e^(y - x)) for x > y.
fn difference(x: f32, y: f32) -> f32 {
    let high = max(x, y);
    let low = min(x, y);
    return sign(x - y) * sigmoid(high) * sigmoid(-low) * -expm1(low - high);
}

fn label_loss(e: Element) -> f32 {
    let beta = params.own.beta;
    return beta * difference(beta * e.logit, beta * e.label) * (e.logit - e.label);
}

fn label_grad(e: Element) -> vec2<f32> {
    let beta = params.own.beta;
    let x = beta * e.logit;
    let y = beta * e.label;
    let apart = x - y;
    let d = difference(x, y);
    return beta * vec2<f32>(sigmoid(x) * sigmoid(-x) * apart + d, -sigmoid(y) * sigmoid(-y) * apart - d);
}
