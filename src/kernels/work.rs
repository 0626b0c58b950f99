//! How much one dispatch may do. Drivers end one that runs for seconds, and with it the device.

use crate::device::module::Module;
use crate::device::plan::{Binds, Dispatches, Grid};
use crate::error::Error;
use std::ops::Range;

/// Loads from memory in one dispatch, about: a tenth of a second on the slowest device, milliseconds on others.
const MOST: u64 = 1 << 26;

/// Divides `count` elements of so many loads each among dispatches.
fn portions(count: u64, each: u64) -> impl Iterator<Item = Range<u64>> {
    let step = (MOST / each.max(1)).max(1);
    (0..count.div_ceil(step)).map(move |i| i * step..((i + 1) * step).min(count))
}

/// Adds the dispatches of a kernel for `count` elements of so many loads each, an element a lane and so many lanes a
/// workgroup. `params` are those of a portion on its grid.
pub(crate) fn push_portions<'a, P: bytemuck::Pod>(
    dispatches: &mut Dispatches<'a, '_>,
    (module, entry): (Module, &'static str),
    (count, each): (u64, u64),
    lanes: u64,
    params: impl Fn(Range<u64>, Grid) -> P,
    bindings: impl Into<Binds<'a>>,
) -> Result<(), Error> {
    let bindings = bindings.into();
    for portion in portions(count, each) {
        let groups = (portion.end - portion.start).div_ceil(lanes);
        let params = |grid| params(portion, grid);
        dispatches.push(module, entry, groups, params, bindings)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn portions_cover_everything_once_and_are_bounded() {
        assert_eq!(portions(0, 5).count(), 0);
        for (count, each) in [
            (1, 0),
            (1, u64::MAX),
            (MOST, 1),
            (MOST + 1, 1),
            (1000, MOST / 3),
        ] {
            let mut end = 0;
            for portion in portions(count, each) {
                assert_eq!(portion.start, end);
                assert!(portion.end > end && (portion.end - end - 1).saturating_mul(each) < MOST);
                end = portion.end;
            }
            assert_eq!(end, count);
        }
    }
}
