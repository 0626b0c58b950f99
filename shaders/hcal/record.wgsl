// Where `state` keeps the record of a sample at a level: field by field, from the level's place `at` on.
// provides: record
// expects:  slots of params

fn record(at: u32, field: u32, i: u32) -> u32 {
    return at + field * params.slots + i;
}
