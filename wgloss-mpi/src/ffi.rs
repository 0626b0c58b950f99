//! MPI's own functions, and all that is unsafe here.
//!
//! The `mpi` crate's safe calls end the process on an error, drop return codes, and borrow their buffers, so that a request that
//! is given up would have to be waited for. Here a request owns its buffers. Where it is given up they are never freed, since
//! the library may write to them at any time; that happens before the job ends only.
#![allow(
    unsafe_code,
    reason = "the C library's functions are unsafe to call; each block says why its call is sound"
)]

use crate::error::Error;
use mpi::environment::Universe;
use mpi::ffi;
use mpi::raw::AsRaw;
use mpi::topology::{Communicator, SimpleCommunicator};
use std::ffi::{c_char, c_int, c_void};
use std::mem::ManuallyDrop;
use std::ops::Deref;
use std::sync::Arc;

/// Words that are sent. They stay at one address wherever this is moved to.
pub(crate) enum Words {
    Owned(Vec<u32>),
    Shared(Arc<Vec<u32>>),
    /// Host memory that the device has written to.
    Mapped(wgloss::wgpu::BufferView),
}

impl Deref for Words {
    type Target = [u32];

    fn deref(&self) -> &[u32] {
        match self {
            Words::Owned(words) => words,
            Words::Shared(words) => words,
            // wgpu maps whole words at aligned addresses.
            Words::Mapped(view) => bytemuck::cast_slice(view),
        }
    }
}

/// The process's part in the job.
pub(crate) struct Job {
    /// What collectives go over.
    data: ManuallyDrop<SimpleCommunicator>,
    /// What ranks tell one another when something is wrong.
    side: ManuallyDrop<SimpleCommunicator>,
    /// Ends the library when it goes; absent where somebody else has begun it.
    universe: ManuallyDrop<Option<Universe>>,
    /// Whether the others come to the end, too. If not, ending the library would wait for them.
    pub(crate) sound: bool,
}

/// Words of a message beside the collectives.
pub(crate) const NOTE: usize = 64;

/// Over which communicator a message goes.
#[derive(Clone, Copy)]
pub(crate) enum Over {
    Data,
    Side,
}

/// What is under way, with the buffers that it reads and writes.
pub(crate) struct Pending {
    request: ffi::MPI_Request,
    done: bool,
    sent: ManuallyDrop<Words>,
    received: ManuallyDrop<Vec<u32>>,
    /// Counts and places, which a collective reads until it is done.
    _layout: ManuallyDrop<[Vec<c_int>; 4]>,
}

/// What MPI's codes mean.
fn text(code: c_int) -> String {
    let mut buffer = [0_u8; 1024]; // more than any library's MPI_MAX_ERROR_STRING
    let mut len: c_int = 0;
    // SAFETY: the buffer is longer than the longest text, and both pointers live through the call.
    let rc = unsafe {
        ffi::MPI_Error_string(
            code,
            buffer.as_mut_ptr().cast::<c_char>(),
            std::ptr::from_mut(&mut len),
        )
    };
    let len = usize::try_from(len).unwrap_or(0).min(buffer.len());
    if rc != 0 || len == 0 {
        return format!("error {code}");
    }
    String::from_utf8_lossy(&buffer[..len])
        .trim_end()
        .to_owned()
}

fn ok(code: c_int) -> Result<(), String> {
    if code == 0 { Ok(()) } else { Err(text(code)) }
}

fn counts(all: &[usize]) -> Result<(Vec<c_int>, Vec<c_int>), String> {
    let (mut counts, mut places, mut at) = (Vec::new(), Vec::new(), 0_usize);
    for count in all {
        let int = |n: usize| {
            c_int::try_from(n).map_err(|_| format!("{n} words are more than a message can have"))
        };
        counts.push(int(*count)?);
        places.push(int(at)?);
        at += count;
    }
    Ok((counts, places))
}

impl Job {
    /// Begins the library, unless somebody has, and gives communicators of our own.
    pub(crate) fn begin() -> Result<Job, Error> {
        let begun = mpi::initialize_with_threading(mpi::Threading::Multiple);
        let universe = begun.map(|(universe, _)| universe);
        if universe.is_none() && !mpi::environment::is_initialized() {
            return Err(Error::Launch("MPI could not be begun".into()));
        }
        let level = mpi::environment::threading_support();
        if level < mpi::Threading::Serialized {
            return Err(Error::Launch(format!(
                "the MPI library gives the thread level {level:?}; Serialized is needed, since a device's threads run beside"
            )));
        }
        let world = SimpleCommunicator::world();
        let (data, side) = (world.duplicate(), world.duplicate());
        for communicator in [&world, &data, &side] {
            // SAFETY: the communicator is valid, and so is the library's own handler.
            let rc = unsafe {
                ffi::MPI_Comm_set_errhandler(communicator.as_raw(), ffi::RSMPI_ERRORS_RETURN)
            };
            ok(rc).map_err(Error::Launch)?;
        }
        Ok(Job {
            data: ManuallyDrop::new(data),
            side: ManuallyDrop::new(side),
            universe: ManuallyDrop::new(universe),
            sound: true,
        })
    }

    pub(crate) fn rank(&self) -> usize {
        self.data.rank() as usize
    }

    pub(crate) fn size(&self) -> usize {
        self.data.size() as usize
    }

    fn over(&self, over: Over) -> ffi::MPI_Comm {
        match over {
            Over::Data => self.data.as_raw(),
            Over::Side => self.side.as_raw(),
        }
    }

    /// Which process of this machine it is, and how many there are.
    pub(crate) fn local(&self) -> (usize, usize) {
        let near = self.data.split_shared(self.data.rank());
        (near.rank() as usize, near.size() as usize)
    }

    fn pending(
        sent: Words,
        received: Vec<u32>,
        layout: [Vec<c_int>; 4],
        begin: impl FnOnce(*const c_void, *mut c_void, &[Vec<c_int>; 4], *mut ffi::MPI_Request) -> c_int,
    ) -> Result<Pending, String> {
        // SAFETY: MPI's handle of no request is a constant of the library.
        let none = unsafe { ffi::RSMPI_REQUEST_NULL };
        let mut pending = Pending {
            request: none,
            done: false,
            sent: ManuallyDrop::new(sent),
            received: ManuallyDrop::new(received),
            _layout: ManuallyDrop::new(layout),
        };
        let rc = begin(
            pending.sent.as_ptr().cast(),
            pending.received.as_mut_ptr().cast(),
            &pending._layout,
            std::ptr::from_mut(&mut pending.request),
        );
        ok(rc).map(|()| pending)
    }

    /// Begins to gather, rank by rank, words of which each rank gives as many as `each` says.
    pub(crate) fn all_gather(&self, mine: Words, each: &[usize]) -> Result<Pending, String> {
        let (lens, places) = counts(each)?;
        let received = vec![0; each.iter().sum()];
        let count = c_int::try_from(mine.len()).map_err(|_| "too many words".to_owned())?;
        let comm = self.data.as_raw();
        let layout = [lens, places, Vec::new(), Vec::new()];
        Job::pending(mine, received, layout, |from, to, layout, request| {
            // SAFETY: both buffers and the layout are owned by the pending request, stay where they are until it is done or
            // forever, and have as many words as is said.
            unsafe {
                ffi::MPI_Iallgatherv(
                    from,
                    count,
                    ffi::RSMPI_UINT32_T,
                    to,
                    layout[0].as_ptr(),
                    layout[1].as_ptr(),
                    ffi::RSMPI_UINT32_T,
                    comm,
                    request,
                )
            }
        })
    }

    /// Begins to give each rank its part of the words, and to receive from each its part for this rank.
    pub(crate) fn all_to_all(
        &self,
        mine: Words,
        send: &[usize],
        receive: &[usize],
    ) -> Result<Pending, String> {
        if send.iter().sum::<usize>() > mine.len() {
            return Err("fewer words than are to be sent".into());
        }
        let ((send_lens, send_places), (lens, places)) = (counts(send)?, counts(receive)?);
        let received = vec![0; receive.iter().sum()];
        let comm = self.data.as_raw();
        let layout = [send_lens, send_places, lens, places];
        Job::pending(mine, received, layout, |from, to, layout, request| {
            // SAFETY: as above; the parts lie within the buffers.
            unsafe {
                ffi::MPI_Ialltoallv(
                    from,
                    layout[0].as_ptr(),
                    layout[1].as_ptr(),
                    ffi::RSMPI_UINT32_T,
                    to,
                    layout[2].as_ptr(),
                    layout[3].as_ptr(),
                    ffi::RSMPI_UINT32_T,
                    comm,
                    request,
                )
            }
        })
    }

    /// Begins to send words to a rank.
    pub(crate) fn send(
        &self,
        over: Over,
        words: Words,
        (to, tag): (usize, c_int),
    ) -> Result<Pending, String> {
        let count = c_int::try_from(words.len()).map_err(|_| "too many words".to_owned())?;
        let (comm, to) = (self.over(over), to as c_int);
        Job::pending(
            words,
            Vec::new(),
            Default::default(),
            |from, _, _, request| {
                // SAFETY: the buffer is owned by the pending request.
                unsafe { ffi::MPI_Isend(from, count, ffi::RSMPI_UINT32_T, to, tag, comm, request) }
            },
        )
    }

    /// Begins to receive as many words from a rank.
    pub(crate) fn receive(
        &self,
        over: Over,
        len: usize,
        (from, tag): (usize, c_int),
    ) -> Result<Pending, String> {
        let count = c_int::try_from(len).map_err(|_| "too many words".to_owned())?;
        let (comm, from) = (self.over(over), from as c_int);
        let (nothing, space) = (Words::Owned(Vec::new()), vec![0; len]);
        Job::pending(nothing, space, Default::default(), |_, to, _, request| {
            // SAFETY: the buffer is owned by the pending request and has as many words.
            unsafe { ffi::MPI_Irecv(to, count, ffi::RSMPI_UINT32_T, from, tag, comm, request) }
        })
    }

    /// The next message beside the collectives, if one is here.
    pub(crate) fn heard(&self) -> Option<[u32; NOTE]> {
        let (comm, mut flag) = (self.side.as_raw(), 0);
        // SAFETY: the communicator is valid, and the flag lives through the call.
        let rc = unsafe {
            ffi::MPI_Iprobe(
                ffi::RSMPI_ANY_SOURCE,
                ffi::RSMPI_ANY_TAG,
                comm,
                std::ptr::from_mut(&mut flag),
                ffi::RSMPI_STATUS_IGNORE,
            )
        };
        if rc != 0 || flag == 0 {
            return None;
        }
        let mut note = [0; NOTE];
        // SAFETY: a message is here, so this does not wait; the buffer has room for one, and longer ones are an error.
        let rc = unsafe {
            ffi::MPI_Recv(
                note.as_mut_ptr().cast(),
                NOTE as c_int,
                ffi::RSMPI_UINT32_T,
                ffi::RSMPI_ANY_SOURCE,
                ffi::RSMPI_ANY_TAG,
                comm,
                ffi::RSMPI_STATUS_IGNORE,
            )
        };
        (rc == 0).then_some(note)
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        if self.sound {
            // SAFETY: dropped once, here, communicators before the library.
            unsafe {
                ManuallyDrop::drop(&mut self.side);
                ManuallyDrop::drop(&mut self.data);
                ManuallyDrop::drop(&mut self.universe);
            }
        }
    }
}

/// Ends the job, all ranks of it.
pub(crate) fn abort(code: i32) -> ! {
    // SAFETY: the library has begun, as whoever calls this has had a world; it does not return.
    unsafe { ffi::MPI_Abort(ffi::RSMPI_COMM_WORLD, code) };
    std::process::abort()
}

impl Pending {
    /// Whether it is done.
    pub(crate) fn test(&mut self) -> Result<bool, String> {
        if self.done {
            return Ok(true);
        }
        let mut flag: c_int = 0;
        // SAFETY: the request is the one that was begun, and not done yet.
        let rc = unsafe {
            ffi::MPI_Test(
                std::ptr::from_mut(&mut self.request),
                std::ptr::from_mut(&mut flag),
                ffi::RSMPI_STATUS_IGNORE,
            )
        };
        ok(rc)?;
        self.done = flag != 0;
        Ok(self.done)
    }

    /// What was received; nothing where it is not done.
    pub(crate) fn take(mut self) -> Vec<u32> {
        match self.done {
            true => std::mem::take(&mut *self.received),
            false => Vec::new(),
        }
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        if self.done {
            // SAFETY: dropped once, here, and the library is done with them.
            unsafe {
                ManuallyDrop::drop(&mut self.sent);
                ManuallyDrop::drop(&mut self.received);
                ManuallyDrop::drop(&mut self._layout);
            }
        }
    }
}
