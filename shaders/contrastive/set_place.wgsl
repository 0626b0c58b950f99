// Where the words of label sets are while rows are brought into the form in which pairs are looked at.
// provides: set_place
// expects:  params

// Where word `w` of a row's set is.
fn set_place(row: u32, w: u32) -> u32 {
    return 4u * (params.own.sets + w * params.own.stride) + params.work.row + row;
}
