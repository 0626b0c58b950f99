// The rows or chunks of a dispatch, `width` neighbouring lanes each.
// provides: Unit, unit_of
// expects:  WG, params, Group

// What a lane works on.
struct Unit {
    number: u32,      // of the row or chunk
    own: u32,         // which of its lanes
    live: bool,       // there is such a row
}

fn unit_of(lane: u32, group: Group, units: u32) -> Unit {
    let groups = group.id.x + group.id.y * params.grid.groups_x;
    let number = groups * (WG >> params.grid.shift) + (lane >> params.grid.shift);
    return Unit(min(number, units - 1u), lane & (params.grid.width - 1u), number < units);
}
