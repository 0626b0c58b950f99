//! What can be seen only before `main`.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

/// Whether stdout was closed when the process began. The standard library puts a null device in its place before `main`, to
/// which writing succeeds, and which then looks like one that the caller put there to be rid of the output.
static STDOUT_WAS_CLOSED: AtomicBool = AtomicBool::new(false);

ctor::declarative::ctor! {
    // Its body may rely on little, as `main` has not begun: it asks the system, and stores a flag.
    #[ctor(unsafe)]
    fn look_at_stdout() {
        let open_files = std::fs::metadata("/dev/fd").is_ok();
        let closed = open_files && std::fs::symlink_metadata("/dev/fd/1").is_err();
        STDOUT_WAS_CLOSED.store(closed, Relaxed);
    }
}

/// Whether stdout was closed when the process began. Where the system has no list of open files, nobody can tell.
pub fn stdout_was_closed() -> bool {
    STDOUT_WAS_CLOSED.load(Relaxed)
}
