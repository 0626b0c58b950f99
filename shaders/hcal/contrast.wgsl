// Contrast of a level's vectors with its prototypes: lengths, means, matrix products, softmax and the way back. The
// vectors of level 1 are the unit features; those of another level stand in `rows`, each at the first sample of its
// class, the rest 0. Unit features and (perturbed) prototypes are never stored, but made of the caller's tensors and
// inverse lengths.
//
// `feature_lengths`: a workgroup a vector.  `prototype_lengths`, `finish_prototypes`: the same, or a lane a vector.
// `means`: a lane for each component of a vector.
// `product`: a tile of TILE_ROWS x TILE_COLS results a workgroup. PRODUCT_SCORES: scores = vectors . prototypes / tau,
// PRODUCT_TO_VECTORS: the gradient to vectors, PRODUCT_TO_PROTOTYPES: to prototypes. `sum_chunks`: where the second is
// split by classes.
// `softmax`: a workgroup a vector; scores become their gradient.   `argmax`: a workgroup a sample.
// `level_losses`: a workgroup a level.
// `scale_gradients`: the gradient to a level's means, from the weight of its loss and the level above. `collect`: that
// to the unit features. A lane for each component.
// `finish_features`, `finish_prototypes`: through the normalisations, in place. A workgroup a vector of features.
// All grids are folded.
// Mirrors: `HcalParams` and its parts in src/kernels/hcal/params.rs, which says what each field is.
// provides: the entry points, HcalParams, params (binding 0), features (binding 1), prototypes (binding 2),
//           noise (binding 3, or the seed), scores (binding 4), rows (binding 5), state (binding 6, records of
//           record.wgsl too), result (binding 7)
// expects:  WG, TILE_ROWS, TILE_COLS, NONE, the PRODUCT_ and NOISE_ kinds, record with the fields RECORD_, math, reals,
//           best, View, group_index, counter_key, counter_mix and counter_uniform of hcal/noise.wgsl,
//           Lane, Group, group_sum of lanes_tree.wgsl

struct LevelParams {
    number: u32,
    classes: u32,
    at: u32,
    above_at: u32,
}

struct WindowParams {
    first_row: u32,
    row_count: u32,
    first_class: u32,
    class_count: u32,
}

struct Places {
    feature_lengths: u32,
    prototype_lengths: u32,
    losses: u32,
    weights: u32,
}

struct Mode {
    product: u32,
    chunks: u32,
    add: u32,
    plain: u32,
    from_rows: u32,
    tree: u32,
    alone: u32,
    want_gradient: u32,
}

struct HcalParams {
    features: View,
    prototypes: View,
    noise: View,
    result: View,
    level: LevelParams,
    window: WindowParams,
    places: Places,
    mode: Mode,
    groups: u32,
    groups_x: u32,
    samples: u32,
    dim: u32,
    levels: u32,
    scale: f32,
    epsilon: f32,
    nan: u32,
}

@group(0) @binding(0) var<uniform> params: HcalParams;
@group(0) @binding(1) var<storage, read_write> features: array<u32>;
@group(0) @binding(2) var<storage, read_write> prototypes: array<u32>;
@group(0) @binding(3) var<storage, read_write> noise: array<u32>;
@group(0) @binding(4) var<storage, read_write> scores: array<f32>;
@group(0) @binding(5) var<storage, read_write> rows: array<f32>;
@group(0) @binding(6) var<storage, read_write> state: array<u32>;
@group(0) @binding(7) var<storage, read_write> result: array<u32>;

// Lanes along the columns of a tile of a product; each has 4 x 4 results.
const LANES_X = TILE_COLS / 4u;
const DEPTH = 16u;
// The inverse of the shortest length.
const LONGEST = 1e12;

fn feature_bits(i: u32, d: u32) -> u32 {
    let at = params.features.offset + i * params.features.stride + d;
    return real_bits(params.features.kind, features[real_place(params.features.kind, at)], at);
}

fn unit_feature(i: u32, d: u32) -> f32 {
    return bitcast<f32>(feature_bits(i, d)) * bitcast<f32>(state[params.places.feature_lengths + i]);
}

fn prototype_bits(c: u32, d: u32) -> u32 {
    let at = params.prototypes.offset + (c - params.window.first_class) * params.prototypes.stride + d;
    return real_bits(params.prototypes.kind, prototypes[real_place(params.prototypes.kind, at)], at);
}

fn length_place(c: u32) -> u32 {
    return params.places.prototype_lengths + 3u * c;
}

fn unit_prototype(c: u32, d: u32) -> f32 {
    return bitcast<f32>(prototype_bits(c, d)) * bitcast<f32>(state[length_place(c)]);
}

fn perturbation(c: u32, d: u32) -> f32 {
    if (params.noise.kind == NOISE_GIVEN) {
        return bitcast<f32>(noise[params.noise.offset + (c - params.window.first_class) * params.noise.stride + d]);
    }
    return counter_uniform(state[length_place(c) + 2u], d, params.epsilon);
}

fn moved_prototype(c: u32, d: u32) -> f32 {
    if (params.mode.plain != 0u || params.noise.kind == NOISE_NONE) {
        return unit_prototype(c, d);
    }
    let moved = unit_prototype(c, d) + perturbation(c, d);
    return moved * bitcast<f32>(state[length_place(c) + 1u]);
}

// Whether this level has a vector at a sample's number.
fn has_vector(i: u32) -> bool {
    if (params.level.number == 0u) {
        return state[record(params.level.at, RECORD_CLASS, i)] != NONE;
    }
    return state[record(params.level.at, RECORD_FIRST, i)] == i;
}

// Vectors of this level.
fn vector_count() -> u32 {
    return state[params.places.losses + params.levels + params.level.number];
}

fn row_value(i: u32, d: u32) -> f32 {
    if (params.mode.from_rows != 0u) {
        return rows[i * params.dim + d];
    }
    return unit_feature(i, d);
}

// 1 / max(|v|, 1e-12) as bits, of components with this largest size and this sum of squares of their shares of it; NaN
// where one is not finite.
fn inverse_length(largest: u32, squares: f32) -> u32 {
    if (largest == NAN_KEY || key_bits(largest) >= 0x7f800000u) {
        return params.nan;
    }
    let size = bitcast<f32>(key_bits(largest));
    return bitcast<u32>(1.0 / max(size * sqrt(squares), 1e-12));
}

fn share(bits: u32, largest: u32) -> f32 {
    let size = bitcast<f32>(key_bits(largest));
    return select(0.0, finite(bits) / max(size, 1e-37), size > 1e-37);
}

@compute @workgroup_size(WG)
fn feature_lengths(
    @builtin(local_invocation_index) lane: u32,
    @builtin(workgroup_id) group: vec3<u32>,
) {
    let i = group_index(group);
    if (i >= params.groups) {
        return;
    }
    var best = best_none();
    for (var d = lane; d < params.dim; d += WG) {
        best = best_of(best, Best(order_key(feature_bits(i, d) & 0x7fffffffu), 0u));
    }
    let largest = group_best(lane, best).key;
    var squares = 0.0;
    for (var d = lane; d < params.dim; d += WG) {
        let x = share(feature_bits(i, d), largest);
        squares += x * x;
    }
    let sum = group_sum(Lane(lane), Group(group), vec2<f32>(squares, 0.0));
    if (lane == 0u) {
        state[params.places.feature_lengths + i] = inverse_length(largest, sum.x);
    }
}

// What a lane does of a prototype: all of one, where there are many prototypes, else its share of the workgroup's one.
struct Part {
    own: u32,         // its number
    start: u32,       // components from here on, in steps
    step: u32,
    leads: bool,      // whether it writes what is found
}

fn part_of(lane: u32, group: vec3<u32>) -> Part {
    let alone = params.mode.alone != 0u;
    let number = select(group_index(group), group_index(group) * WG + lane, alone);
    let here = number < params.window.class_count;
    // A lane without a prototype does nothing, but reaches the barriers.
    let start = select(params.dim, select(lane, 0u, alone), here);
    let own = params.window.first_class + min(number, params.window.class_count - 1u);
    return Part(own, start, select(WG, 1u, alone), here && (alone || lane == 0u));
}

// The sum over the lanes that share a prototype.
fn part_sum(lane: u32, group: vec3<u32>, value: f32) -> f32 {
    if (params.mode.alone != 0u) {
        return value;
    }
    return group_sum(Lane(lane), Group(group), vec2<f32>(value, 0.0)).x;
}

@compute @workgroup_size(WG)
fn prototype_lengths(
    @builtin(local_invocation_index) lane: u32,
    @builtin(workgroup_id) group: vec3<u32>,
) {
    if (group_index(group) >= params.groups) {
        return;
    }
    let part = part_of(lane, group);
    let c = part.own;
    var best = best_none();
    for (var d = part.start; d < params.dim; d += part.step) {
        best = best_of(best, Best(order_key(prototype_bits(c, d) & 0x7fffffffu), 0u));
    }
    if (params.mode.alone == 0u) {
        best = group_best(lane, best);
    }
    let largest = best.key;
    var squares = 0.0;
    for (var d = part.start; d < params.dim; d += part.step) {
        let x = share(prototype_bits(c, d), largest);
        squares += x * x;
    }
    squares = part_sum(lane, group, squares);
    if (part.leads) {
        state[length_place(c)] = inverse_length(largest, squares);
        if (params.noise.kind == NOISE_SEEDED) {
            let key = counter_key(noise[params.noise.offset], noise[params.noise.offset + 1u], params.level.number);
            state[length_place(c) + 2u] = counter_mix(key + c * 0x9e3779b9u);
        }
    }
    // The other lanes use what the first has just stored.
    storageBarrier();
    squares = 0.0;
    if (params.noise.kind != NOISE_NONE) {
        for (var d = part.start; d < params.dim; d += part.step) {
            let moved = unit_prototype(c, d) + perturbation(c, d);
            squares += moved * moved;
        }
    }
    squares = part_sum(lane, group, squares);
    if (part.leads) {
        state[length_place(c) + 1u] = bitcast<u32>(1.0 / max(sqrt(squares), 1e-12));
    }
}

@compute @workgroup_size(WG)
fn means(
    @builtin(local_invocation_index) lane: u32,
    @builtin(workgroup_id) group: vec3<u32>,
) {
    let n = params.samples;
    let element = group_index(group) * WG + lane;
    let i = element / params.dim;
    let d = element % params.dim;
    if (group_index(group) >= params.groups || i >= n) {
        return;
    }
    var sum = 0.0;
    if (state[record(params.level.at, RECORD_FIRST, i)] == i) {
        let children = state[record(params.level.at, RECORD_CHILDREN, i)];
        if (params.mode.tree != 0u && params.level.number > 0u && children > 0u) {
            var j = state[record(params.level.at, RECORD_HEAD, i)];
            // `rows` are the means of the level below.
            for (var step = 0u; step < children && j < n; step++) {
                sum += rows[j * params.dim + d];
                j = state[record(params.level.at, RECORD_LINK, j)];
            }
            sum /= f32(children);
        } else {
            let count = state[record(params.level.at, RECORD_COUNT, i)];
            var j = i;
            for (var step = 0u; step < count && j < n; step++) {
                sum += unit_feature(j, d);
                j = state[record(params.level.at, RECORD_NEXT, j)];
            }
            sum /= f32(count);
        }
    }
    result[element] = bitcast<u32>(sum);
}

// ---- products

var<workgroup> wg_left: array<f32, TILE_ROWS * DEPTH>;
var<workgroup> wg_right: array<f32, TILE_COLS * DEPTH>;

// Rows, columns and depth of the product.
fn extents() -> vec3<u32> {
    switch params.mode.product {
        case PRODUCT_SCORES: {
            return vec3<u32>(params.window.row_count, params.window.class_count, params.dim);
        }
        case PRODUCT_TO_VECTORS: {
            return vec3<u32>(params.window.row_count, params.dim, params.window.class_count);
        }
        default: {
            return vec3<u32>(params.window.class_count, params.dim, params.window.row_count);
        }
    }
}

fn left(i: u32, k: u32) -> f32 {
    switch params.mode.product {
        case PRODUCT_SCORES: {
            return row_value(params.window.first_row + i, k);
        }
        case PRODUCT_TO_VECTORS: {
            return scores[i * params.level.classes + params.window.first_class + k];
        }
        default: {
            return scores[k * params.level.classes + params.window.first_class + i];
        }
    }
}

fn right(j: u32, k: u32) -> f32 {
    switch params.mode.product {
        case PRODUCT_SCORES: {
            return moved_prototype(params.window.first_class + j, k);
        }
        case PRODUCT_TO_VECTORS: {
            return moved_prototype(params.window.first_class + k, j);
        }
        default: {
            let i = params.window.first_row + k;
            // A sample without a label counts for nothing, whatever it holds.
            if (params.mode.from_rows == 0u && !has_vector(i)) {
                return 0.0;
            }
            return row_value(i, j);
        }
    }
}

fn put(i: u32, j: u32, size: vec3<u32>, chunk: u32, value: f32) {
    if (i >= size.x || j >= size.y) {
        return;
    }
    if (params.mode.chunks > 1u) {
        rows[(chunk * size.x + i) * size.y + j] = value * params.scale;
        return;
    }
    if (params.mode.product == PRODUCT_SCORES) {
        scores[i * params.level.classes + params.window.first_class + j] = value * params.scale;
        return;
    }
    var row = i;
    if (params.mode.product == PRODUCT_TO_VECTORS) {
        row += params.window.first_row;
    }
    let place = params.result.offset + row * params.result.stride + j;
    var sum = value * params.scale;
    if (params.mode.add != 0u) {
        sum += bitcast<f32>(result[place]);
    }
    result[place] = bitcast<u32>(sum);
}

fn put_row(i: u32, j: u32, size: vec3<u32>, chunk: u32, value: vec4<f32>) {
    put(i, j, size, chunk, value.x);
    put(i, j + 1u, size, chunk, value.y);
    put(i, j + 2u, size, chunk, value.z);
    put(i, j + 3u, size, chunk, value.w);
}

@compute @workgroup_size(WG)
fn product(
    @builtin(local_invocation_index) lane: u32,
    @builtin(workgroup_id) group: vec3<u32>,
) {
    if (group_index(group) >= params.groups) {
        return;
    }
    let size = extents();
    let across = (size.y + TILE_COLS - 1u) / TILE_COLS;
    let all = params.groups / params.mode.chunks;
    let tile = group_index(group) % all;
    let chunk = group_index(group) / all;
    let i0 = tile / across * TILE_ROWS;
    let j0 = tile % across * TILE_COLS;
    let span = (size.z + params.mode.chunks - 1u) / params.mode.chunks;
    let end = min(size.z, (chunk + 1u) * span);
    let y = 4u * (lane / LANES_X);
    let x = 4u * (lane % LANES_X);
    var first = vec4<f32>(0.0);
    var second = vec4<f32>(0.0);
    var third = vec4<f32>(0.0);
    var fourth = vec4<f32>(0.0);
    for (var k0 = chunk * span; k0 < end; k0 += DEPTH) {
        // The values before may still be being read.
        workgroupBarrier();
        for (var e = lane; e < TILE_ROWS * DEPTH; e += WG) {
            let i = i0 + e / DEPTH;
            let k = k0 + e % DEPTH;
            var value = 0.0;
            if (i < size.x && k < end) {
                value = left(i, k);
            }
            wg_left[e % DEPTH * TILE_ROWS + e / DEPTH] = value;
        }
        for (var e = lane; e < TILE_COLS * DEPTH; e += WG) {
            let j = j0 + e / DEPTH;
            let k = k0 + e % DEPTH;
            var value = 0.0;
            if (j < size.y && k < end) {
                value = right(j, k);
            }
            wg_right[e % DEPTH * TILE_COLS + e / DEPTH] = value;
        }
        workgroupBarrier();
        for (var k = 0u; k < DEPTH; k++) {
            let a = k * TILE_ROWS + y;
            let b = k * TILE_COLS + x;
            let row = vec4<f32>(wg_right[b], wg_right[b + 1u], wg_right[b + 2u], wg_right[b + 3u]);
            first += wg_left[a] * row;
            second += wg_left[a + 1u] * row;
            third += wg_left[a + 2u] * row;
            fourth += wg_left[a + 3u] * row;
        }
    }
    put_row(i0 + y, j0 + x, size, chunk, first);
    put_row(i0 + y + 1u, j0 + x, size, chunk, second);
    put_row(i0 + y + 2u, j0 + x, size, chunk, third);
    put_row(i0 + y + 3u, j0 + x, size, chunk, fourth);
}

// The chunks of a product, added up. A lane for each result.
@compute @workgroup_size(WG)
fn sum_chunks(
    @builtin(local_invocation_index) lane: u32,
    @builtin(workgroup_id) group: vec3<u32>,
) {
    let element = group_index(group) * WG + lane;
    let all = params.window.row_count * params.dim;
    if (group_index(group) >= params.groups || element >= all) {
        return;
    }
    var sum = 0.0;
    for (var chunk = 0u; chunk < params.mode.chunks; chunk++) {
        sum += rows[chunk * all + element];
    }
    let row = params.window.first_row + element / params.dim;
    let place = params.result.offset + row * params.result.stride + element % params.dim;
    if (params.mode.add != 0u) {
        sum += bitcast<f32>(result[place]);
    }
    result[place] = bitcast<u32>(sum);
}

// ---- losses

@compute @workgroup_size(WG)
fn softmax(
    @builtin(local_invocation_index) lane: u32,
    @builtin(workgroup_id) group: vec3<u32>,
) {
    let row = group_index(group);
    if (row >= params.groups) {
        return;
    }
    let i = params.window.first_row + row;
    let own = state[record(params.level.at, RECORD_CLASS, i)];
    let begin = row * params.level.classes;
    var best = best_none();
    for (var c = lane; c < params.level.classes; c += WG) {
        best = best_of(best, Best(order_key(bitcast<u32>(scores[begin + c])), c));
    }
    let most = group_best(lane, best).key;
    let bad = most == NAN_KEY;
    let largest = finite(select(key_bits(most), 0u, bad));
    var others = 0.0;
    for (var c = lane; c < params.level.classes; c += WG) {
        if (c != own) {
            others += exp_minus(scores[begin + c], largest);
        }
    }
    others = group_sum(Lane(lane), Group(group), vec2<f32>(others, 0.0)).x;
    let here = has_vector(i);
    var hit = 0.0;
    if (here) {
        hit = scores[begin + own];
    }
    let all = others + exp_minus(hit, largest);
    if (lane == 0u) {
        let behind = largest - hit;
        // Where the own class is the largest, log(1 + others) keeps its digits.
        let loss = select(log(all) + behind, log1p(others), behind <= 0.0);
        let bits = select(bitcast<u32>(loss), params.nan, bad);
        state[record(params.level.at, RECORD_LOSS, i)] = select(0u, bits, here);
    }
    if (params.mode.want_gradient == 0u) {
        return;
    }
    // The score of the own class has been read by all.
    workgroupBarrier();
    for (var c = lane; c < params.level.classes; c += WG) {
        let slope = select(exp_minus(scores[begin + c], largest), -others, c == own) / all;
        let bits = select(bitcast<u32>(slope), params.nan, bad);
        scores[begin + c] = bitcast<f32>(select(0u, bits, here));
    }
}

@compute @workgroup_size(WG)
fn argmax(
    @builtin(local_invocation_index) lane: u32,
    @builtin(workgroup_id) group: vec3<u32>,
) {
    let row = group_index(group);
    if (row >= params.groups) {
        return;
    }
    var best = best_none();
    for (var c = lane; c < params.level.classes; c += WG) {
        let key = order_key(bitcast<u32>(scores[row * params.level.classes + c]));
        // A NaN is no maximum.
        best = best_of(best, Best(select(key, 0u, key == NAN_KEY), c));
    }
    best = group_best(lane, best);
    if (lane == 0u) {
        result[params.result.offset + params.window.first_row + row] = select(best.index, 0u, best.key == 0u);
    }
}

@compute @workgroup_size(WG)
fn level_losses(
    @builtin(local_invocation_index) lane: u32,
    @builtin(workgroup_id) group: vec3<u32>,
) {
    let n = params.samples;
    let level = group_index(group);
    if (level >= params.groups) {
        return;
    }
    let at = params.level.at + level * RECORD_WORDS * n;
    var sum = 0.0;
    var count = 0.0;
    for (var i = lane; i < n; i += WG) {
        let labelled = state[record(at, RECORD_CLASS, i)] != NONE;
        if (select(state[record(at, RECORD_FIRST, i)] == i, labelled, level == 0u)) {
            sum += bitcast<f32>(state[record(at, RECORD_LOSS, i)]);
            count += 1.0;
        }
    }
    let both = group_sum(Lane(lane), Group(group), vec2<f32>(sum, count));
    if (lane == 0u) {
        let bits = bitcast<u32>(both.x / max(both.y, 1.0));
        let loss = select(bits, params.nan, is_nan(bits));
        state[params.places.losses + level] = loss;
        state[params.places.losses + params.levels + level] = u32(both.y);
        if (params.result.present != 0u) {
            result[params.result.offset + level] = loss;
        }
    }
}

// ---- the way back

// What a gradient of this level, made before the weights were known, is multiplied by.
fn level_factor() -> f32 {
    let count = vector_count();
    let weight = bitcast<f32>(state[params.places.weights + params.level.number]);
    return select(weight / f32(max(count, 1u)), 0.0, count == 0u);
}

@compute @workgroup_size(WG)
fn scale_gradients(
    @builtin(local_invocation_index) lane: u32,
    @builtin(workgroup_id) group: vec3<u32>,
) {
    let n = params.samples;
    let element = group_index(group) * WG + lane;
    let i = element / params.dim;
    if (group_index(group) >= params.groups || i >= n) {
        return;
    }
    var value = 0.0;
    // The loss of level 1 is not one of its means.
    if (params.level.number > 0u && has_vector(i)) {
        value = level_factor() * bitcast<f32>(result[element]);
    }
    if (params.mode.tree != 0u && params.level.number + 1u < params.levels) {
        let parent = state[record(params.level.above_at, RECORD_UP, i)];
        if (parent != NONE) {
            let children = f32(max(state[record(params.level.above_at, RECORD_CHILDREN, parent)], 1u));
            value += rows[parent * params.dim + element % params.dim] / children;
        }
    }
    result[element] = bitcast<u32>(value);
}

@compute @workgroup_size(WG)
fn collect(
    @builtin(local_invocation_index) lane: u32,
    @builtin(workgroup_id) group: vec3<u32>,
) {
    let n = params.samples;
    let element = group_index(group) * WG + lane;
    let i = element / params.dim;
    let d = element % params.dim;
    if (group_index(group) >= params.groups || i >= n) {
        return;
    }
    let place = params.result.offset + i * params.result.stride + d;
    let before = bitcast<f32>(result[place]);
    if (params.mode.add == 0u) {
        result[place] = bitcast<u32>(select(0.0, level_factor() * before, has_vector(i)));
        return;
    }
    let row = state[record(params.level.at, RECORD_FIRST, i)];
    if (row == NONE) {
        return;
    }
    let children = state[record(params.level.at, RECORD_CHILDREN, row)];
    let of_children = params.mode.tree != 0u && params.level.number > 0u && children > 0u;
    if (!of_children) {
        let count = f32(state[record(params.level.at, RECORD_COUNT, i)]);
        result[place] = bitcast<u32>(before + rows[row * params.dim + d] / count);
    }
}

@compute @workgroup_size(WG)
fn finish_features(
    @builtin(local_invocation_index) lane: u32,
    @builtin(workgroup_id) group: vec3<u32>,
) {
    let i = group_index(group);
    if (i >= params.groups) {
        return;
    }
    let begin = params.result.offset + i * params.result.stride;
    var along = 0.0;
    for (var d = lane; d < params.dim; d += WG) {
        along += bitcast<f32>(result[begin + d]) * unit_feature(i, d);
    }
    along = group_sum(Lane(lane), Group(group), vec2<f32>(along, 0.0)).x;
    let inverse = bitcast<f32>(state[params.places.feature_lengths + i]);
    for (var d = lane; d < params.dim; d += WG) {
        let value = (bitcast<f32>(result[begin + d]) - along * unit_feature(i, d)) * inverse;
        result[begin + d] = bitcast<u32>(select(value, 0.0, inverse >= LONGEST));
    }
}

// The gradient to a unit prototype, of that to the perturbed one: `along` is the product of the latter with the
// prototype.
fn through_move(c: u32, d: u32, place: u32, along: f32) -> f32 {
    let value = bitcast<f32>(result[place]);
    if (params.noise.kind == NOISE_NONE) {
        return value;
    }
    let inverse = bitcast<f32>(state[length_place(c) + 1u]);
    return (value - along * moved_prototype(c, d)) * select(inverse, 0.0, inverse >= LONGEST);
}

@compute @workgroup_size(WG)
fn finish_prototypes(
    @builtin(local_invocation_index) lane: u32,
    @builtin(workgroup_id) group: vec3<u32>,
) {
    if (group_index(group) >= params.groups) {
        return;
    }
    let part = part_of(lane, group);
    let c = part.own;
    let begin = params.result.offset + (c - params.window.first_class) * params.result.stride;
    if (params.samples == 0u) {
        // Nothing has been written here yet.
        for (var d = part.start; d < params.dim; d += part.step) {
            result[begin + d] = 0u;
        }
        return;
    }
    var along = 0.0;
    if (params.noise.kind != NOISE_NONE) {
        for (var d = part.start; d < params.dim; d += part.step) {
            along += bitcast<f32>(result[begin + d]) * moved_prototype(c, d);
        }
    }
    along = part_sum(lane, group, along);
    var second = 0.0;
    for (var d = part.start; d < params.dim; d += part.step) {
        second += through_move(c, d, begin + d, along) * unit_prototype(c, d);
    }
    second = part_sum(lane, group, second);
    let inverse = bitcast<f32>(state[length_place(c)]);
    let factor = level_factor();
    for (var d = part.start; d < params.dim; d += part.step) {
        let value = factor * (through_move(c, d, begin + d, along) - second * unit_prototype(c, d)) * inverse;
        result[begin + d] = bitcast<u32>(select(value, 0.0, inverse >= LONGEST));
    }
}
