// Brings rows into the form in which pairs are looked at: the embedding in f32, divided by its norm, with zeros up to
// a multiple of DEPTH components; the label set as bits, word by word; its size; which key the row is itself.
//
// Mirrors: src/kernels/contrastive/params.rs.
// provides: pack_row, labels (binding 2), indices (binding 3), z (binding 4), sets (binding 5),
//           small (binding 6), itself_index (binding 7)
// expects:  params, NORM_FLOOR (the least norm that a row is divided by), SUMMED (what one sum takes in), FORM_BITS,
//           FORM_BYTES, FORM_INTEGERS, FORM_LISTS, SAME_NUMBER, FROM_INDEX, FROM_OFFSET, source_bits, finite, team_sum, set_place

@group(0) @binding(2) var<storage, read_write> labels: array<u32>;
@group(0) @binding(3) var<storage, read_write> indices: array<u32>;
@group(0) @binding(4) var<storage, read_write> z: array<u32>;
@group(0) @binding(5) var<storage, read_write> sets: array<u32>;
@group(0) @binding(6) var<storage, read_write> small: array<u32>;
@group(0) @binding(7) var<storage, read_write> itself_index: array<u32>;

// Word `w` of a row's label set, where it does not come from a list.
fn set_bits(row: u32, w: u32) -> u32 {
    if (params.source.form == FORM_BITS) {
        return labels[params.source.labels_offset + row * params.source.labels_stride + w];
    }
    var word = 0u;
    let first = params.source.labels_offset + row * params.source.labels_stride + 32u * w;
    let most = min(32u, params.source.labels - 32u * w);
    if (params.source.form == FORM_INTEGERS) {
        for (var bit = 0u; bit < most; bit++) {
            word |= select(0u, 1u << bit, labels[first + bit] != 0u);
        }
    }
    if (params.source.form == FORM_BYTES) {
        for (var bit = 0u; bit < most; bit++) {
            let i = first + bit;
            let byte = (labels[i / 4u] >> ((i & 3u) * 8u)) & 0xffu;
            word |= select(0u, 1u << bit, byte != 0u);
        }
    }
    return word;
}

// Sets the bits of a list of labels, and returns how many of its own words' a lane has set: it goes through the whole
// list, and has every `lanes`-th word.
fn set_listed(row: u32, lane: u32, lanes: u32) -> u32 {
    // Kept inside the tensor whatever the offsets say.
    let start = min(labels[params.source.labels_offset + row], params.source.indices_len);
    let end = min(labels[params.source.labels_offset + row + 1u], params.source.indices_len);
    var size = 0u;
    for (var i = start; i < end; i++) {
        let label = indices[params.source.indices_offset + i];
        if (label < params.source.labels && label / 32u % lanes == lane) {
            let place = set_place(row, label / 32u);
            let before = sets[place];
            let after = before | (1u << (label & 31u));
            sets[place] = after;
            // A label may be there twice.
            size += countOneBits(after ^ before);
        }
    }
    return size;
}

// Packs a row that some lanes share. All of them must call it, those without a row too: these write nothing.
fn pack_row(row: u32, writes: bool, lane: u32, lanes: u32) {
    // In x: components that are not finite; in y: those whose squares would overflow.
    var odd = vec2<f32>(0.0);
    for (var d = lane; d < params.row.dims; d += lanes) {
        let bits = source_bits(row, d) & 0x7fffffffu;
        odd.x += select(0.0, 1.0, bits >= 0x7f800000u);
        odd.y += select(0.0, 1.0, bits > 0x58635fa9u); // 1e15
    }
    odd = team_sum(odd, lane, lanes);
    let sound = odd.x == 0.0;
    let large = odd.y > 0.0;
    let scale = select(1.0, 1e-25, large);
    var squares = 0.0;
    for (var start = lane; start < params.row.dims; start += SUMMED * lanes) {
        let stop = min(params.row.dims, start + SUMMED * lanes);
        var some = 0.0;
        for (var d = start; d < stop; d += lanes) {
            let x = finite(source_bits(row, d)) * scale;
            some += x * x;
        }
        squares += some;
    }
    let length = sqrt(team_sum(vec2<f32>(squares, 0.0), lane, lanes).x);
    let vanishes = length <= NORM_FLOOR * scale;
    var inverse = 1.0;
    var kept = 1.0;
    if (params.settings.normalize != 0u) {
        inverse = select(1.0 / max(length, 1e-30), 1.0 / (NORM_FLOOR * scale), vanishes) * scale;
        kept = select(inverse, 0.0, vanishes);
    }
    var size = 0u;
    if (writes) {
        for (var d = lane; d < 4u * params.row.depth; d += lanes) {
            var value = 0.0;
            if (d < params.row.dims && sound) {
                let x = finite(source_bits(row, d));
                value = x;
                if (params.settings.normalize != 0u) {
                    // `inverse` itself may be too small for an f32.
                    value = select(x * inverse, x * scale / max(length, 1e-30), large);
                }
            }
            z[4u * (params.own.z + row * params.row.depth) + d] = bitcast<u32>(value);
        }
        for (var w = lane; w < params.row.words; w += lanes) {
            let word = set_bits(row, w);
            size += countOneBits(word);
            sets[set_place(row, w)] = word;
        }
        if (params.source.form == FORM_LISTS) {
            size = set_listed(row, lane, lanes);
        }
    }
    let all = u32(team_sum(vec2<f32>(f32(size), 0.0), lane, lanes).x) | select(UNSOUND, 0u, sound);
    if (writes && lane == 0u) {
        let number = params.own.first + row;
        var itself = 0xffffffffu;
        if (params.roles.itself == SAME_NUMBER) {
            itself = number;
        } else if (params.roles.itself == FROM_INDEX) {
            itself = itself_index[params.roles.itself_at + number];
        } else if (params.roles.itself == FROM_OFFSET) {
            itself = params.roles.itself_at + number;
        }
        sets[set_place(row, params.row.words)] = all;
        sets[set_place(row, params.row.words + 1u)] = itself;
        small[params.own.sizes + number] = all;
        small[params.own.norms + number] = bitcast<u32>(kept);
    }
}
