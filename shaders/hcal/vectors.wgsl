// What HCAL does of one vector at a time: features and prototypes to unit vectors, a vector's scores to its loss and
// their gradient, gradients back through the normalisations. Vectors stand in quads of four components, the last filled
// with zeros; a vector's scores in quads of classes.
//
// `features`:   unit features, and their inverse lengths.
// `prototypes`: (perturbed) unit prototypes, and their inverse lengths.
// `softmax`:    of the scores of a sample's vector the loss; scores become their gradient.   `argmax`: predictions.
// `collect`:    what all levels give a feature, through its normalisation.
// `finish`:     the gradient to a prototype, through its normalisations, in place.
// Grid: a lane or a workgroup for each vector from `begin` to `end`, as the part says; folded.
// provides: the entry points, features_in (binding 1), prototypes_in (binding 2), noise (binding 3, or the seed),
//           vectors (binding 4), table (binding 5, scores, or the gradients to all levels' vectors),
//           state (binding 6, records of record.wgsl too), result (binding 7)
// expects:  NONE, the NOISE_ kinds, record with the fields RECORD_, math, reals, best, params of hcal/params.wgsl,
//           nested, counter_key, counter_mix and counter_uniform of shared/noise.wgsl, Part and part_of, part_sum,
//           part_best

@group(0) @binding(1) var<storage, read_write> features_in: array<u32>;
@group(0) @binding(2) var<storage, read_write> prototypes_in: array<u32>;
@group(0) @binding(3) var<storage, read_write> noise: array<u32>;
@group(0) @binding(4) var<storage, read_write> vectors: array<vec4<f32>>;
@group(0) @binding(5) var<storage, read_write> table: array<vec4<f32>>;
@group(0) @binding(6) var<storage, read_write> state: array<u32>;
@group(0) @binding(7) var<storage, read_write> result: array<u32>;

// The inverse of the shortest length.
const LONGEST = 1e12;

// The inverse of a length beyond 1e30 leaves the range of f32: it is kept in this unit, 2^-64, with a minus.
const UNIT = 5.421010862427522e-20;

// Which of the four numbers from `4 quad` on lie below `end`.
fn inside(quad: u32, end: u32) -> vec4<bool> {
    return 4u * quad + vec4<u32>(0u, 1u, 2u, 3u) < vec4<u32>(end);
}

fn feature_bits(i: u32, quad: u32) -> vec4<u32> {
    let kind = params.features.kind;
    let last = params.dim - 1u;
    let at = params.features.offset + i * params.features.stride + min(4u * quad + vec4<u32>(0u, 1u, 2u, 3u), vec4<u32>(last));
    return vec4<u32>(
        real_bits(kind, features_in[real_place(kind, at.x)], at.x),
        real_bits(kind, features_in[real_place(kind, at.y)], at.y),
        real_bits(kind, features_in[real_place(kind, at.z)], at.z),
        real_bits(kind, features_in[real_place(kind, at.w)], at.w),
    );
}

// `row` is the class less the first of the window.
fn prototype_bits(row: u32, quad: u32) -> vec4<u32> {
    let kind = params.prototypes.kind;
    let last = params.dim - 1u;
    let at = params.prototypes.offset + row * params.prototypes.stride + min(4u * quad + vec4<u32>(0u, 1u, 2u, 3u), vec4<u32>(last));
    return vec4<u32>(
        real_bits(kind, prototypes_in[real_place(kind, at.x)], at.x),
        real_bits(kind, prototypes_in[real_place(kind, at.y)], at.y),
        real_bits(kind, prototypes_in[real_place(kind, at.z)], at.z),
        real_bits(kind, prototypes_in[real_place(kind, at.w)], at.w),
    );
}

// Of the absolute values the largest, as a key.
fn largest_key(bits: vec4<u32>) -> u32 {
    let first = max(order_key(bits.x & 0x7fffffffu), order_key(bits.y & 0x7fffffffu));
    return max(first, max(order_key(bits.z & 0x7fffffffu), order_key(bits.w & 0x7fffffffu)));
}

// The values as shares of the largest size.
fn shares(bits: vec4<u32>, largest: u32) -> vec4<f32> {
    let size = bitcast<f32>(key_bits(largest));
    let values = vec4<f32>(finite(bits.x), finite(bits.y), finite(bits.z), finite(bits.w));
    return select(vec4<f32>(0.0), values / max(size, 1e-37), vec4<bool>(size > 1e-37));
}

// 1 / max(|v|, 1e-12) as bits, of components with this largest size and this sum of squares of their shares of it; NaN
// where one is not finite.
fn inverse_length(largest: u32, squares: f32) -> u32 {
    if (largest == NAN_KEY || key_bits(largest) >= 0x7f800000u) {
        return params.nan;
    }
    let size = bitcast<f32>(key_bits(largest));
    if (size > 1e30) {
        return bitcast<u32>(-1.0 / (size * UNIT * sqrt(squares)));
    }
    return bitcast<u32>(1.0 / max(size * sqrt(squares), 1e-12));
}

// The inverse of a length, which may be as good as 0.
fn inverse_of(bits: u32) -> f32 {
    let inverse = bitcast<f32>(bits);
    return select(inverse, -UNIT * inverse, inverse < 0.0);
}

fn unit(bits: vec4<u32>, inverse: u32, quad: u32) -> vec4<f32> {
    let factor = bitcast<f32>(inverse);
    let x = bitcast<vec4<f32>>(bits) * select(1.0, -UNIT, factor < 0.0);
    return select(vec4<f32>(0.0), x * factor, inside(quad, params.dim));
}

@compute @workgroup_size(WG)
fn features(
    @builtin(local_invocation_index) lane: u32,
    @builtin(workgroup_id) group: vec3<u32>,
) {
    let part = part_of(lane, group);
    let i = part.own;
    var best = best_none();
    for (var q = part.start; q < params.quads; q += part.step) {
        best.key = max(best.key, largest_key(feature_bits(i, q)));
    }
    let largest = part_best(lane, best).key;
    var squares = 0.0;
    for (var q = part.start; q < params.quads; q += part.step) {
        let x = select(vec4<f32>(0.0), shares(feature_bits(i, q), largest), inside(q, params.dim));
        squares += dot(x, x);
    }
    let inverse = inverse_length(largest, part_sum(lane, group, squares));
    if (!part.here) {
        return;
    }
    if (part.leads) {
        state[params.places.feature_lengths + i] = inverse;
    }
    for (var q = part.start; q < params.quads; q += part.step) {
        vectors[i * params.quads + q] = unit(feature_bits(i, q), inverse, q);
    }
}

fn length_place(c: u32) -> u32 {
    return params.places.prototype_lengths + 2u * c;
}

// What the perturbation of a class is made of.
fn noise_key(c: u32) -> u32 {
    if (params.noise.kind != NOISE_SEEDED) {
        return 0u;
    }
    let key = counter_key(noise[params.noise.offset], noise[params.noise.offset + 1u], params.level.number);
    return counter_mix(key + c * 0x9e3779b9u);
}

fn perturbation(row: u32, key: u32, quad: u32) -> vec4<f32> {
    let d = 4u * quad + vec4<u32>(0u, 1u, 2u, 3u);
    if (params.noise.kind == NOISE_GIVEN) {
        let at = params.noise.offset + row * params.noise.stride + min(d, vec4<u32>(params.dim - 1u));
        return bitcast<vec4<f32>>(vec4<u32>(noise[at.x], noise[at.y], noise[at.z], noise[at.w]));
    }
    let e = params.epsilon;
    return vec4<f32>(
        counter_uniform(key, d.x, e),
        counter_uniform(key, d.y, e),
        counter_uniform(key, d.z, e),
        counter_uniform(key, d.w, e),
    );
}

// A unit prototype with its perturbation, not yet of unit length.
fn moved(row: u32, key: u32, inverse: u32, quad: u32) -> vec4<f32> {
    let own = unit(prototype_bits(row, quad), inverse, quad);
    return own + select(vec4<f32>(0.0), perturbation(row, key, quad), inside(quad, params.dim));
}

@compute @workgroup_size(WG)
fn prototypes(
    @builtin(local_invocation_index) lane: u32,
    @builtin(workgroup_id) group: vec3<u32>,
) {
    let part = part_of(lane, group);
    let row = part.own;
    let c = params.window.first_class + row;
    var best = best_none();
    for (var q = part.start; q < params.quads; q += part.step) {
        best.key = max(best.key, largest_key(prototype_bits(row, q)));
    }
    let largest = part_best(lane, best).key;
    var squares = 0.0;
    for (var q = part.start; q < params.quads; q += part.step) {
        let x = select(vec4<f32>(0.0), shares(prototype_bits(row, q), largest), inside(q, params.dim));
        squares += dot(x, x);
    }
    let inverse = inverse_length(largest, part_sum(lane, group, squares));
    let moves = params.mode.plain == 0u && params.noise.kind != NOISE_NONE;
    let key = noise_key(c);
    squares = 0.0;
    if (moves) {
        for (var q = part.start; q < params.quads; q += part.step) {
            let x = moved(row, key, inverse, q);
            squares += dot(x, x);
        }
    }
    let inverse_moved = 1.0 / max(sqrt(part_sum(lane, group, squares)), 1e-12);
    if (!part.here) {
        return;
    }
    if (part.leads) {
        state[length_place(c)] = inverse;
        state[length_place(c) + 1u] = bitcast<u32>(inverse_moved);
    }
    for (var q = part.start; q < params.quads; q += part.step) {
        if (moves) {
            vectors[row * params.quads + q] = moved(row, key, inverse, q) * inverse_moved;
        } else {
            vectors[row * params.quads + q] = unit(prototype_bits(row, q), inverse, q);
        }
    }
}

// Whether this level has a vector at a sample's number.
fn has_vector(i: u32) -> bool {
    if (params.level.number == 0u) {
        return state[record(params.level.at, RECORD_CLASS, i)] != NONE;
    }
    return state[record(params.level.at, RECORD_FIRST, i)] == i;
}

@compute @workgroup_size(WG)
fn softmax(
    @builtin(local_invocation_index) lane: u32,
    @builtin(workgroup_id) group: vec3<u32>,
) {
    let part = part_of(lane, group);
    let i = params.window.first_row + part.own;
    let own = state[record(params.level.at, RECORD_CLASS, i)];
    let at = part.own * params.level.row_quads;
    var best = best_none();
    for (var q = part.start; q < params.level.row_quads; q += part.step) {
        let bits = bitcast<vec4<u32>>(table[at + q]);
        let keys = vec4<u32>(order_key(bits.x), order_key(bits.y), order_key(bits.z), order_key(bits.w));
        let here = select(vec4<u32>(0u), keys, inside(q, params.level.classes));
        best.key = max(best.key, max(max(here.x, here.y), max(here.z, here.w)));
    }
    let most = part_best(lane, best).key;
    let bad = most == NAN_KEY;
    let largest = finite(select(key_bits(most), 0u, bad));
    let here = has_vector(i) && own < params.level.classes;
    let own_class = vec4<u32>(own);
    var others = nested_none();
    var hit = 0.0;
    for (var q = part.start; q < params.level.row_quads; q += part.step) {
        let values = table[at + q];
        let classes = 4u * q + vec4<u32>(0u, 1u, 2u, 3u);
        let powers = exp(clamp(values - largest, vec4<f32>(-110.0), vec4<f32>(0.0)));
        let counts = (classes != own_class) & inside(q, params.level.classes);
        others = nested_add(others, select(vec4<f32>(0.0), powers, counts));
        hit += dot(select(vec4<f32>(0.0), values, classes == own_class), vec4<f32>(1.0));
    }
    let sum = part_sum(lane, group, nested_sum(others));
    hit = part_sum(lane, group, hit);
    let all = sum + exp_minus(hit, largest);
    if (part.leads) {
        let behind = largest - hit;
        // Where the own class is the largest, log(1 + others) keeps its digits.
        let loss = select(log(all) + behind, log1p(sum), behind <= 0.0);
        let bits = select(bitcast<u32>(loss), params.nan, bad);
        state[record(params.level.at, RECORD_LOSS, i)] = select(0u, bits, here);
    }
    if (params.want_gradient == 0u || !part.here) {
        return;
    }
    let nan = bitcast<f32>(params.nan);
    for (var q = part.start; q < params.level.row_quads; q += part.step) {
        let classes = 4u * q + vec4<u32>(0u, 1u, 2u, 3u);
        let powers = exp(clamp(table[at + q] - largest, vec4<f32>(-110.0), vec4<f32>(0.0)));
        let slopes = select(powers, vec4<f32>(-sum), classes == own_class) / all;
        let known = select(bitcast<vec4<u32>>(slopes), vec4<u32>(params.nan), vec4<bool>(bad));
        let counts = inside(q, params.level.classes) & vec4<bool>(here);
        table[at + q] = bitcast<vec4<f32>>(select(vec4<u32>(0u), known, counts));
    }
}

@compute @workgroup_size(WG)
fn argmax(
    @builtin(local_invocation_index) lane: u32,
    @builtin(workgroup_id) group: vec3<u32>,
) {
    let part = part_of(lane, group);
    let at = part.own * params.level.row_quads;
    var best = best_none();
    for (var q = part.start; q < params.level.row_quads; q += part.step) {
        let bits = bitcast<vec4<u32>>(table[at + q]);
        best = best_of(best, candidate(bits.x, 4u * q));
        best = best_of(best, candidate(bits.y, 4u * q + 1u));
        best = best_of(best, candidate(bits.z, 4u * q + 2u));
        best = best_of(best, candidate(bits.w, 4u * q + 3u));
    }
    best = part_best(lane, best);
    if (part.leads) {
        result[params.result.offset + params.window.first_row + part.own] = select(best.index, 0u, best.key == 0u);
    }
}

// A class with its score; a NaN is no maximum, and neither is what fills the last quad.
fn candidate(bits: u32, class_number: u32) -> Best {
    let key = order_key(bits);
    return Best(select(key, 0u, key == NAN_KEY || class_number >= params.level.classes), class_number);
}

// The number of a level's vector that a sample's feature is a part of, or NONE.
fn row_of(level: u32, i: u32) -> u32 {
    return state[record(params.records + level * RECORD_WORDS * params.slots, RECORD_ROW, i)];
}

// What a gradient to a level's vectors, made before the weights were known, is multiplied by.
fn level_factor(level: u32) -> f32 {
    let count = state[params.places.losses + params.levels + level];
    let weight = bitcast<f32>(state[params.places.weights + level]);
    return select(weight / f32(max(count, 1u)), 0.0, count == 0u);
}

@compute @workgroup_size(WG)
fn collect(
    @builtin(local_invocation_index) lane: u32,
    @builtin(workgroup_id) group: vec3<u32>,
) {
    let part = part_of(lane, group);
    let i = part.own;
    let n = params.slots;
    let begin = params.result.offset + i * params.result.stride;
    let of_level = RECORD_WORDS * n;
    // What is a part of nothing has no gradient, whatever it holds.
    var is_part = false;
    for (var k = 0u; k < params.levels; k++) {
        is_part = is_part || row_of(k, i) != NONE;
    }
    var along = 0.0;
    for (var q = part.start; q < params.quads; q += part.step) {
        var value = vec4<f32>(0.0);
        for (var k = 0u; k < params.levels; k++) {
            let row = row_of(k, i);
            if (row != NONE) {
                let share = bitcast<f32>(state[record(params.records + k * of_level, RECORD_SHARE, i)]);
                value += level_factor(k) * share * table[(k * n + row) * params.quads + q];
            }
        }
        along += dot(value, vectors[i * params.quads + q]);
        put(begin, q, value, part.here);
    }
    along = part_sum(lane, group, along);
    let inverse = inverse_of(state[params.places.feature_lengths + i]);
    for (var q = part.start; q < params.quads; q += part.step) {
        // This lane has written it.
        let value = (taken(begin, q) - along * vectors[i * params.quads + q]) * inverse;
        put(begin, q, select(value, vec4<f32>(0.0), vec4<bool>(inverse >= LONGEST || !is_part)), part.here);
    }
}

// A quad of a vector of the caller's.
fn put(begin: u32, quad: u32, value: vec4<f32>, here: bool) {
    let bits = bitcast<vec4<u32>>(value);
    let at = begin + 4u * quad;
    let exists = inside(quad, params.dim);
    if (here && exists.x) {
        result[at] = bits.x;
    }
    if (here && exists.y) {
        result[at + 1u] = bits.y;
    }
    if (here && exists.z) {
        result[at + 2u] = bits.z;
    }
    if (here && exists.w) {
        result[at + 3u] = bits.w;
    }
}

fn taken(begin: u32, quad: u32) -> vec4<f32> {
    let at = begin + min(4u * quad + vec4<u32>(0u, 1u, 2u, 3u), vec4<u32>(params.dim - 1u));
    let bits = vec4<u32>(result[at.x], result[at.y], result[at.z], result[at.w]);
    return select(vec4<f32>(0.0), bitcast<vec4<f32>>(bits), inside(quad, params.dim));
}

// The gradient to a unit prototype, of that to the perturbed one: `along` is the product of the latter with the
// prototype.
fn through_move(value: vec4<f32>, own: vec4<f32>, inverse: f32, along: f32) -> vec4<f32> {
    return (value - along * own * inverse) * select(inverse, 0.0, inverse >= LONGEST);
}

@compute @workgroup_size(WG)
fn finish(
    @builtin(local_invocation_index) lane: u32,
    @builtin(workgroup_id) group: vec3<u32>,
) {
    let part = part_of(lane, group);
    let row = part.own;
    let c = params.window.first_class + row;
    let begin = params.result.offset + row * params.result.stride;
    if (params.window.row_count == 0u) {
        // The level has no vectors. Nothing has been written here yet.
        for (var q = part.start; q < params.quads; q += part.step) {
            put(begin, q, vec4<f32>(0.0), part.here);
        }
        return;
    }
    let inverse = state[length_place(c)];
    let inverse_moved = bitcast<f32>(state[length_place(c) + 1u]);
    let key = noise_key(c);
    let moves = params.noise.kind != NOISE_NONE;
    var along = 0.0;
    if (moves) {
        for (var q = part.start; q < params.quads; q += part.step) {
            along += dot(taken(begin, q), moved(row, key, inverse, q) * inverse_moved);
        }
    }
    along = part_sum(lane, group, along);
    var second = 0.0;
    for (var q = part.start; q < params.quads; q += part.step) {
        let own = unit(prototype_bits(row, q), inverse, q);
        var value = taken(begin, q);
        if (moves) {
            value = through_move(value, moved(row, key, inverse, q), inverse_moved, along);
        }
        second += dot(value, own);
    }
    second = part_sum(lane, group, second);
    let longest = inverse_of(inverse) >= LONGEST;
    let factor = level_factor(params.level.number) * inverse_of(inverse);
    for (var q = part.start; q < params.quads; q += part.step) {
        let own = unit(prototype_bits(row, q), inverse, q);
        var value = taken(begin, q);
        if (moves) {
            value = through_move(value, moved(row, key, inverse, q), inverse_moved, along);
        }
        put(begin, q, select(factor * (value - second * own), vec4<f32>(0.0), vec4<bool>(longest)), part.here);
    }
}
