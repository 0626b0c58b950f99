// The number of a workgroup whose grid is folded over x and y.
// provides: group_index
// expects:  groups_x of params

fn group_index(group: vec3<u32>) -> u32 {
    return group.y * params.groups_x + group.x;
}
