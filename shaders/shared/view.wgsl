// Where a tensor of the caller's lies in its binding. Mirrors: `View` in src/kernels/view.rs, which says what each
// field is.
// provides: View
// expects:  nothing

struct View {
    offset: u32,
    stride: u32,
    kind: u32,
    present: u32,
}
