// The call's own memory.
// provides: scratch (binding 6)
// expects:  nothing

@group(0) @binding(6) var<storage, read_write> scratch: array<u32>;
