// For a loss without settings of its own: WGSL has no empty struct.
// provides: Settings
// expects:  nothing

struct Settings {
    none: u32,
}
