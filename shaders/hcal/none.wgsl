// What stands for no sample and no class.
// provides: NONE
// expects:  nothing

const NONE = 0xffffffffu;
