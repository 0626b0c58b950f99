// The largest of many values with the first index that has it, in integers: NaN and infinities keep their place, and
// the result does not depend on the order of comparing.
// provides: NAN_KEY, Best, order_key, key_bits, best_of, best_none
// expects:  is_nan of math.wgsl

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
