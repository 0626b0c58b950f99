// The largest of many values with the first index that has it, in integers: NaN and infinities keep their place, and
// the result does not depend on the order of comparing.
// provides: NAN_KEY, Best, order_key, key_bits, best_of, best_none, group_best
// expects:  WG, is_nan of math.wgsl

struct Best {
    key: u32,         // rises with the value; 0 is below all values
    index: u32,
}

// Of a NaN, above all values.
const NAN_KEY = 0xffffffffu;

// The key of the f32 with these bits; that of -0 is that of 0.
fn order_key(bits: u32) -> u32 {
    let value = select(bits, 0u, bits == 0x80000000u);
    let key = select(value | 0x80000000u, ~value, (value & 0x80000000u) != 0u);
    return select(key, NAN_KEY, is_nan(bits));
}

// The bits of the f32 with this key, which is not NAN_KEY.
fn key_bits(key: u32) -> u32 {
    return select(~key, key & 0x7fffffffu, (key & 0x80000000u) != 0u);
}

fn best_none() -> Best {
    return Best(0u, 0xffffffffu);
}

fn best_of(a: Best, b: Best) -> Best {
    let second = b.key > a.key || (b.key == a.key && b.index < a.index);
    return Best(select(a.key, b.key, second), select(a.index, b.index, second));
}

var<workgroup> wg_best_key: array<u32, WG>;
var<workgroup> wg_best_index: array<u32, WG>;

// The best over the workgroup, in all lanes. All lanes of the workgroup must call it.
fn group_best(lane: u32, own: Best) -> Best {
    // The result before may still be being read.
    workgroupBarrier();
    wg_best_key[lane] = own.key;
    wg_best_index[lane] = own.index;
    workgroupBarrier();
    for (var reach = WG / 2u; reach > 0u; reach /= 2u) {
        if (lane < reach) {
            let other = Best(wg_best_key[lane + reach], wg_best_index[lane + reach]);
            let best = best_of(Best(wg_best_key[lane], wg_best_index[lane]), other);
            wg_best_key[lane] = best.key;
            wg_best_index[lane] = best.index;
        }
        // A level is complete before the next reads it.
        workgroupBarrier();
    }
    return Best(wg_best_key[0], wg_best_index[0]);
}
