// What is found of the weighted differences of a row and a set of weights, in scratch.
// provides: Found, found_load, found_store
// expects:  params, scratch, FOUND_WORDS

struct Found {
    total: f32,       // D
    weights: f32,     // sum of the weights: closed forms alone
    centre: f32,      // what their slopes are about
    scale: f32,       // dL/dw = scale c; of the closed forms scale (e - about)^2 + rest
    about: f32,
    rest: f32,
}

fn found_place(row: u32, k: u32) -> u32 {
    return params.own.found_at + (row * params.own.sets + k) * FOUND_WORDS;
}

fn found_load(row: u32, k: u32) -> Found {
    let at = found_place(row, k);
    return Found(
        bitcast<f32>(scratch[at]),
        bitcast<f32>(scratch[at + 1u]),
        bitcast<f32>(scratch[at + 2u]),
        bitcast<f32>(scratch[at + 3u]),
        bitcast<f32>(scratch[at + 4u]),
        bitcast<f32>(scratch[at + 5u]),
    );
}

fn found_store(row: u32, k: u32, f: Found) {
    let at = found_place(row, k);
    scratch[at] = bitcast<u32>(f.total);
    scratch[at + 1u] = bitcast<u32>(f.weights);
    scratch[at + 2u] = bitcast<u32>(f.centre);
    scratch[at + 3u] = bitcast<u32>(f.scale);
    scratch[at + 4u] = bitcast<u32>(f.about);
    scratch[at + 5u] = bitcast<u32>(f.rest);
}
