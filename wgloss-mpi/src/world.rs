//! The ranks of a job, and collectives that end.

use crate::error::{Absence, Error};
use crate::ffi::{self, Job, NOTE, Over, Pending, Words};
use signal_hook::consts::{SIGTERM, SIGUSR1};
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// How long a rank may be waited for, unless it is said.
const TIMEOUT: Duration = Duration::from_secs(60);
/// How long ranks that wait, too, have to say so, once one has waited too long; less where its time was shorter.
const GRACE: Duration = Duration::from_secs(2);
/// The same once the launcher ends the job: it kills a second later.
const LAST_GRACE: Duration = Duration::from_millis(300);
/// How long a rank of which another thread has panicked has to come to a collective and say so.
const PANIC_GRACE: Duration = Duration::from_secs(1);
/// How long a rank that ends the job waits for all others to have heard of it.
const LEAVE: Duration = Duration::from_secs(1);
/// What a rank ends the job with that gives up.
const GIVEN_UP: i32 = 70;
/// What a rank ends the job with that panicked.
const PANICKED: i32 = 101;
/// Variables by which launchers say how many processes they have begun: `OpenMPI`'s, `MPICH`'s, Slurm's.
const SIZES: [&str; 3] = ["OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "SLURM_STEP_NUM_TASKS"];
/// Tag of messages that are none of the collectives of the library.
const TAG: i32 = 1;

/// What ranks tell one another beside the collectives.
#[derive(Clone, Copy, PartialEq)]
#[repr(u32)]
enum Note {
    /// Who waits where?
    Ask = 1,
    /// I wait there.
    Wait = 2,
    /// I go no further.
    Stop = 3,
    /// I have heard of one that goes no further.
    Gone = 4,
}

/// What this rank has sent, in the collectives of one name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// How many collectives.
    pub calls: u64,
    /// Bytes sent to other ranks, where each is sent once along a ring or straight to its rank: what an all-gather takes at
    /// least. The library may choose to send more in fewer messages.
    pub bytes: u64,
    /// Messages of these.
    pub messages: u64,
}

/// The ranks of a job, one process each. Collectives are called by all ranks in the same order.
///
/// Every collective waits for as long as is set, 60 s unless it is said, and is an error then that names the ranks that did not
/// come. After an error there is no way back: every further call gives the same error, and where the world goes, it prints the
/// error and ends the job, all ranks of it: to end as MPI wants it would be to wait for ranks that do not come.
pub struct World {
    job: Job,
    rank: usize,
    size: usize,
    local: (usize, usize),
    timeout: Duration,
    /// Set once the launcher has asked the process to end.
    ended: Arc<AtomicBool>,
    /// Set once another thread has panicked.
    panicked: Arc<AtomicBool>,
    fault: RefCell<Option<Error>>,
    /// The others that go no further.
    gone: RefCell<BTreeSet<usize>>,
    /// How many collectives have begun, and which one is waited for.
    place: RefCell<(u64, String)>,
    begun: Cell<u64>,
    /// Messages beside the collectives that are on their way.
    outbox: RefCell<Vec<Pending>>,
    traffic: RefCell<BTreeMap<String, Traffic>>,
    /// Whether all have come to the end.
    closed: Cell<bool>,
    /// What this rank says it is.
    pub(crate) version: String,
}

/// A collective under way.
pub(crate) struct Gathering<'w> {
    world: &'w World,
    what: String,
    number: u64,
    pending: Vec<Pending>,
}

/// A block of a ring, and the rank that it is of.
pub(crate) type Block = (usize, Arc<Vec<u32>>);

/// Blocks that go round from rank to rank, one at a time.
pub(crate) struct Ring<'w> {
    world: &'w World,
    what: String,
    number: u64,
    tag: i32,
    lens: Vec<usize>,
    /// How many blocks of others have come.
    come: usize,
    sends: Vec<Pending>,
    receive: Option<Pending>,
}

impl World {
    /// Begins MPI, unless the program has done so, and makes communicators for this crate. Called by all ranks, once.
    ///
    /// # Errors
    /// Where the launcher has begun another number of processes than the library knows of, as happens where a program that is
    /// built for one MPI library is run by the launcher of another; where the library has no threads.
    pub fn open() -> Result<World, Error> {
        let job = Job::begin()?;
        let (rank, size) = (job.rank(), job.size());
        for name in SIZES {
            let found = std::env::var(name).ok();
            let Some(begun) = found.and_then(|n| n.parse::<usize>().ok()) else {
                continue;
            };
            // A program may be run without a launcher inside of a job.
            if size == 1 && begun > 1 || size > 1 && begun != size {
                return Err(Error::Launch(format!(
                    "rank {rank}: {name} says that {begun} processes were begun, the MPI library knows {size}: the launcher is that of another library"
                )));
            }
        }
        let ended = Arc::new(AtomicBool::new(false));
        // The first signal is noted, so that this rank can say whom it waits for; the second ends the process.
        let flag = || Arc::clone(&ended);
        let noted = signal_hook::flag::register_conditional_shutdown(SIGTERM, 143, flag())
            .and_then(|_| signal_hook::flag::register(SIGTERM, flag()));
        // MPICH's launcher, told not to kill them, sends this one to the others where a process has died.
        let noted = match std::env::var_os("PMI_FD") {
            Some(_) => noted.and_then(|_| signal_hook::flag::register(SIGUSR1, flag())),
            None => noted,
        };
        noted.map_err(|error| {
            Error::Launch(format!("rank {rank}: no handler of signals: {error}"))
        })?;
        let local = job.local();
        Ok(World {
            job,
            rank,
            size,
            local,
            timeout: TIMEOUT,
            ended,
            panicked: Arc::default(),
            fault: RefCell::new(None),
            gone: RefCell::default(),
            place: RefCell::default(),
            begun: Cell::new(0),
            outbox: RefCell::default(),
            traffic: RefCell::default(),
            closed: Cell::new(false),
            version: env!("CARGO_PKG_VERSION").into(),
        })
    }

    /// The same with another time for which a rank is waited for. All ranks should have the same.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> World {
        self.timeout = timeout;
        self
    }

    /// The same as if it were another version of this crate: to test that a job of several is refused.
    #[doc(hidden)]
    #[must_use]
    pub fn with_version(mut self, version: &str) -> World {
        self.version = version.into();
        self
    }

    /// This process's number.
    pub fn rank(&self) -> usize {
        self.rank
    }

    /// How many ranks there are.
    pub fn size(&self) -> usize {
        self.size
    }

    /// This process's number among those of its machine.
    pub fn local_rank(&self) -> usize {
        self.local.0
    }

    /// How many ranks this machine has.
    pub fn local_size(&self) -> usize {
        self.local.1
    }

    /// What was sent so far, by the collectives' names.
    pub fn traffic(&self) -> BTreeMap<String, Traffic> {
        self.traffic.borrow().clone()
    }

    /// From now on a panic in another thread than this one ends the job, too, after its message: at the next collective, or
    /// after a second. A panic of this one does in any case, as it unwinds.
    pub fn abort_on_panic(&self) {
        let before = std::panic::take_hook();
        let (owner, panicked) = (std::thread::current().id(), Arc::clone(&self.panicked));
        std::panic::set_hook(Box::new(move |info| {
            before(info);
            if std::thread::current().id() != owner || cfg!(panic = "abort") {
                // The owner tells the others, where it is at a collective or comes to one.
                panicked.store(true, Ordering::Relaxed);
                std::thread::sleep(PANIC_GRACE);
                ffi::abort(PANICKED);
            }
        }));
    }

    /// Tells the others, and ends the job, all ranks of it, with this status.
    pub fn abort(&self, code: i32) -> ! {
        self.tell(
            Note::Stop,
            0,
            &format!("it ends the job with status {code}"),
        );
        self.leave(code)
    }

    /// Ends the job once the others have heard of it.
    fn leave(&self, code: i32) -> ! {
        let began = Instant::now();
        while began.elapsed() < LEAVE && self.gone.borrow().len() + 1 < self.size {
            // That they go, too, is all that counts now.
            let _ = self.listen(false);
            std::thread::sleep(Duration::from_millis(1));
        }
        // And their own words are on their way.
        std::thread::sleep(Duration::from_millis(50));
        ffi::abort(code)
    }

    /// Ends this rank's part, once all others have come to their end, too. Without, the world does so where it goes.
    ///
    /// # Errors
    /// Ranks that do not come.
    pub fn close(self) -> Result<(), Error> {
        self.finish()
    }

    fn finish(&self) -> Result<(), Error> {
        if !self.closed.get() {
            // Not a collective of the library: a rank that ends too early would meet the others' there.
            let mine = Arc::new(vec![0]);
            let mut ring = self.ring("the end of the job", mine, vec![1; self.size])?;
            while ring.next()?.is_some() {}
            self.closed.set(true);
        }
        Ok(())
    }

    /// Tells all others that this rank goes no further, and makes every later call fail.
    pub(crate) fn fail<T>(&self, error: Error) -> Result<T, Error> {
        let mut fault = self.fault.borrow_mut();
        if fault.is_none() {
            // What another has said all have heard.
            if matches!(error, Error::Elsewhere { .. }) {
                self.tell(Note::Gone, 0, "");
            } else {
                let said = error.to_string();
                let own = format!("rank {}: ", self.rank);
                self.tell(Note::Stop, 0, said.strip_prefix(&own).unwrap_or(&said));
            }
            *fault = Some(error.clone());
        }
        Err(error)
    }

    /// An error of the device or of a call on this rank, as one of the job.
    pub(crate) fn here<T>(&self, error: wgloss::Error) -> Result<T, Error> {
        self.fail(Error::Here {
            rank: self.rank,
            error,
        })
    }

    fn sound(&self) -> Result<(), Error> {
        match &*self.fault.borrow() {
            Some(error) => Err(error.clone()),
            None => Ok(()),
        }
    }

    /// Sends a note to all others.
    fn tell(&self, note: Note, number: u64, text: &str) {
        for other in (0..self.size).filter(|other| *other != self.rank) {
            self.tell_one(other, note, number, text);
        }
    }

    fn tell_one(&self, other: usize, note: Note, number: u64, text: &str) {
        let mut words = vec![0_u32; NOTE];
        let room = 4 * (NOTE - 5);
        let mut len = text.len().min(room);
        while !text.is_char_boundary(len) {
            len -= 1;
        }
        words[0] = note as u32;
        words[1] = self.rank as u32;
        words[2..4].copy_from_slice(&[number as u32, (number >> 32) as u32]);
        words[4] = len as u32;
        let bytes: &mut [u8] = bytemuck::cast_slice_mut(&mut words[5..]);
        bytes[..len].copy_from_slice(&text.as_bytes()[..len]);
        // A rank that is gone cannot be told.
        if let Ok(sent) = self.job.send(Over::Side, Words::Owned(words), (other, TAG)) {
            self.outbox.borrow_mut().push(sent);
        }
    }

    /// Hears what others say, answers those who ask, and gives where those wait that have answered.
    fn listen(&self, waiting: bool) -> Result<Vec<(usize, u64, String)>, Error> {
        (self.outbox.borrow_mut()).retain_mut(|sent| !sent.test().unwrap_or(false));
        let mut places = Vec::new();
        while let Some(words) = self.job.heard() {
            let other = words[1] as usize;
            let number = u64::from(words[2]) | u64::from(words[3]) << 32;
            let bytes: &[u8] = bytemuck::cast_slice(&words[5..]);
            let text = String::from_utf8_lossy(&bytes[..(words[4] as usize).min(bytes.len())]);
            let (here, what) = self.place.borrow().clone();
            if words[0] == Note::Stop as u32 || words[0] == Note::Gone as u32 {
                self.gone.borrow_mut().insert(other);
            }
            if words[0] == Note::Ask as u32 && waiting {
                self.tell_one(other, Note::Wait, here, &what);
            } else if words[0] == Note::Wait as u32 {
                places.push((other, number, text.into_owned()));
            } else if words[0] == Note::Stop as u32 {
                return self.fail(Error::Elsewhere {
                    rank: self.rank,
                    other,
                    collective: if what.is_empty() {
                        "no collective".into()
                    } else {
                        what
                    },
                    message: text.into_owned(),
                });
            }
        }
        Ok(places)
    }

    /// Asks who waits where, and says who does not come.
    fn missing<T>(&self, waited: Duration, ended: bool) -> Result<T, Error> {
        let (number, collective) = self.place.borrow().clone();
        let grace = match ended {
            true => LAST_GRACE,
            false => GRACE.min(self.timeout / 2),
        };
        self.tell(Note::Ask, number, "");
        let mut answers = BTreeMap::new();
        let asked = Instant::now();
        while asked.elapsed() < grace && answers.len() + 1 < self.size {
            for (other, at, place) in self.listen(true)? {
                answers.insert(other, (at, place));
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        let others = (0..self.size).filter(|other| *other != self.rank);
        let silent = others.filter(|other| !answers.contains_key(other));
        let silent = silent.collect();
        // Several collectives may be under way: one that waits for an earlier one has begun this one, or will.
        let elsewhere = answers.into_iter().filter(|(_, at)| at.1 != collective);
        let astray = elsewhere.map(|(other, (_, place))| (other, place));
        self.fail(Error::Missing(Box::new(Absence {
            rank: self.rank,
            astray: astray.collect(),
            collective,
            silent,
            waited,
            ended,
        })))
    }

    /// Fails where the library does, in a collective.
    fn broken<T>(&self, what: &str, message: String) -> Result<T, Error> {
        self.fail(Error::Mpi {
            rank: self.rank,
            collective: what.to_owned(),
            message,
        })
    }

    /// Waits until `ready` says so, for a collective.
    fn until(
        &self,
        (number, what): (u64, &str),
        mut ready: impl FnMut() -> Result<bool, String>,
    ) -> Result<(), Error> {
        self.sound()?;
        *self.place.borrow_mut() = (number, what.to_owned());
        let began = Instant::now();
        let mut listened = began;
        loop {
            match ready() {
                Ok(true) => return Ok(()),
                Ok(false) => {}
                Err(message) => return self.broken(what, message),
            }
            let waited = began.elapsed();
            // What comes at once costs no sleep.
            if waited < Duration::from_micros(200) {
                std::thread::yield_now();
                continue;
            }
            if listened.elapsed() > Duration::from_millis(1) {
                self.listen(true)?;
                listened = Instant::now();
            }
            if self.panicked.load(Ordering::Relaxed) {
                let reason = "a thread of it panicked";
                let kind = wgloss::ErrorKind::Device;
                return self.here(wgloss::Error::because(kind, what, reason));
            }
            let ended = self.ended.load(Ordering::Relaxed);
            if ended || waited > self.timeout {
                return self.missing(waited, ended);
            }
            std::thread::sleep(Duration::from_micros(50));
        }
    }

    fn begin<T>(
        &self,
        what: &str,
        traffic: Traffic,
        begin: impl FnOnce() -> Result<T, String>,
    ) -> Result<(u64, T), Error> {
        self.sound()?;
        self.begun.set(self.begun.get() + 1);
        let mut all = self.traffic.borrow_mut();
        let sum = all.entry(what.to_owned()).or_default();
        sum.calls += 1;
        sum.bytes += traffic.bytes;
        sum.messages += traffic.messages;
        drop(all);
        match begin() {
            Ok(begun) => Ok((self.begun.get(), begun)),
            Err(message) => self.broken(what, message),
        }
    }

    /// Gathers as many words of each rank, rank by rank.
    pub(crate) fn all_gather(
        &self,
        what: &str,
        mine: Words,
        each: usize,
    ) -> Result<Vec<u32>, Error> {
        self.begin_all_gather(what, mine, &vec![each; self.size])?
            .wait()
    }

    /// Gathers words of all ranks, rank by rank: as many of each, and the same on all ranks. `what` names the collective in
    /// errors and in the [traffic](World::traffic).
    ///
    /// # Errors
    /// Ranks that do not come.
    pub fn gather(&self, what: &str, words: &[u32]) -> Result<Vec<u32>, Error> {
        self.all_gather(what, Words::Owned(words.to_vec()), words.len())
    }

    /// Adds up numbers of all ranks, in the order of the ranks: the same bits on all of them, and from run to run.
    ///
    /// # Errors
    /// Ranks that do not come.
    pub fn sum(&self, what: &str, numbers: &[f32]) -> Result<Vec<f32>, Error> {
        let words = numbers.iter().map(|number| number.to_bits()).collect();
        self.all_reduce(what, Words::Owned(words))
    }

    /// Begins to gather words of each rank, rank by rank, as many as `each` says.
    pub(crate) fn begin_all_gather(
        &self,
        what: &str,
        mine: Words,
        each: &[usize],
    ) -> Result<Gathering<'_>, Error> {
        let others = self.size as u64 - 1;
        let traffic = Traffic {
            calls: 1,
            bytes: 4 * others * mine.len() as u64,
            messages: others,
        };
        let (number, pending) = self.begin(what, traffic, || self.job.all_gather(mine, each))?;
        Ok(Gathering {
            world: self,
            what: what.to_owned(),
            number,
            pending: vec![pending],
        })
    }

    /// Adds up numbers of all ranks, in the order of the ranks, and gives each rank its own part: of `parts[r]` numbers for
    /// rank `r`, in the order of the ranks.
    pub(crate) fn reduce_scatter(
        &self,
        what: &str,
        mine: Words,
        parts: &[usize],
    ) -> Result<Vec<f32>, Error> {
        let own = parts[self.rank];
        let out = parts.iter().sum::<usize>() - own;
        let traffic = Traffic {
            calls: 1,
            bytes: 4 * out as u64,
            messages: self.size as u64 - 1,
        };
        let receive = vec![own; self.size];
        let (number, mut pending) =
            self.begin(what, traffic, || self.job.all_to_all(mine, parts, &receive))?;
        self.until((number, what), || pending.test())?;
        let all = pending.take();
        let mut sums = vec![0.0; own];
        for part in all.chunks_exact(own.max(1)) {
            for (sum, word) in sums.iter_mut().zip(part) {
                *sum += f32::from_bits(*word);
            }
        }
        Ok(sums)
    }

    /// Adds up numbers of all ranks, in the order of the ranks, for all of them: the same bits everywhere.
    pub(crate) fn all_reduce(&self, what: &str, mine: Words) -> Result<Vec<f32>, Error> {
        let len = mine.len();
        let parts: Vec<usize> = (0..self.size)
            .map(|rank| len * (rank + 1) / self.size - len * rank / self.size)
            .collect();
        let sums = self.reduce_scatter(what, mine, &parts)?;
        let words = sums.into_iter().map(f32::to_bits).collect();
        let all = self.begin_all_gather(what, Words::Owned(words), &parts)?;
        Ok(all.wait()?.into_iter().map(f32::from_bits).collect())
    }

    /// Sends words to one rank, and gets as many as are said from another. All ranks do, each to another one.
    pub(crate) fn exchange(
        &self,
        what: &str,
        words: Words,
        to: usize,
        (from, len): (usize, usize),
    ) -> Result<Vec<u32>, Error> {
        let traffic = Traffic {
            calls: 1,
            bytes: 4 * words.len() as u64,
            messages: 1,
        };
        let tag = self.next_tag();
        let (number, (mut sent, mut come)) = self.begin(what, traffic, || {
            let sent = self.job.send(Over::Data, words, (to, tag))?;
            Ok((sent, self.job.receive(Over::Data, len, (from, tag))?))
        })?;
        self.until((number, what), || Ok(sent.test()? & come.test()?))?;
        Ok(come.take())
    }

    /// The tag of the messages of the next collective: those of two that are under way at a time have other ones.
    fn next_tag(&self) -> i32 {
        TAG + 1 + ((self.begun.get() + 1) % 30_000) as i32
    }

    /// Begins to send blocks round, of as many words as `lens` says.
    pub(crate) fn ring(
        &self,
        what: &str,
        mine: Arc<Vec<u32>>,
        lens: Vec<usize>,
    ) -> Result<Ring<'_>, Error> {
        let call = Traffic {
            calls: 1,
            ..Traffic::default()
        };
        let tag = self.next_tag();
        let (number, ()) = self.begin(what, call, || Ok(()))?;
        let mut ring = Ring {
            world: self,
            what: what.to_owned(),
            number,
            tag,
            lens,
            come: 0,
            sends: Vec::new(),
            receive: None,
        };
        ring.pass(mine)?;
        Ok(ring)
    }
}

impl Gathering<'_> {
    /// Lets the library go on with it, without waiting.
    pub(crate) fn nudge(&mut self) -> Result<(), Error> {
        for pending in &mut self.pending {
            if let Err(message) = pending.test() {
                return self.world.broken(&self.what, message);
            }
        }
        Ok(())
    }

    /// What was gathered.
    pub(crate) fn wait(mut self) -> Result<Vec<u32>, Error> {
        let (world, place) = (self.world, (self.number, self.what.as_str()));
        let pending = &mut self.pending;
        world.until(place, || {
            let mut done = true;
            for one in pending.iter_mut() {
                done &= one.test()?;
            }
            Ok(done)
        })?;
        let all = std::mem::take(&mut self.pending).into_iter();
        Ok(all.flat_map(Pending::take).collect())
    }
}

impl Ring<'_> {
    /// Whose block comes after as many steps.
    fn owner(&self, step: usize) -> usize {
        (self.world.rank + self.lens.len() - step) % self.lens.len()
    }

    /// Sends a block on, and begins to receive the next.
    fn pass(&mut self, block: Arc<Vec<u32>>) -> Result<(), Error> {
        let (world, size) = (self.world, self.lens.len());
        if self.come + 1 >= size {
            return Ok(());
        }
        let (next, before) = ((world.rank + 1) % size, (world.rank + size - 1) % size);
        let len = self.lens[self.owner(self.come + 1)];
        // Blocks of one ring do not pass one another.
        let tag = self.tag;
        let bytes = 4 * block.len() as u64;
        let sent = world
            .job
            .send(Over::Data, Words::Shared(block), (next, tag));
        let receive = world.job.receive(Over::Data, len, (before, tag));
        match (sent, receive) {
            (Ok(sent), Ok(receive)) => {
                self.sends.push(sent);
                self.receive = Some(receive);
            }
            (Err(message), _) | (_, Err(message)) => return world.broken(&self.what, message),
        }
        let mut all = world.traffic.borrow_mut();
        let sum = all.entry(self.what.clone()).or_default();
        sum.bytes += bytes;
        sum.messages += 1;
        Ok(())
    }

    /// The next block and whose it is, which is on its way to the next rank then; none after the last.
    pub(crate) fn next(&mut self) -> Result<Option<Block>, Error> {
        let (world, place) = (self.world, (self.number, self.what.clone()));
        let place = (place.0, place.1.as_str());
        let Some(mut receive) = self.receive.take() else {
            let sends = &mut self.sends;
            world.until(place, || {
                let mut done = true;
                for sent in sends.iter_mut() {
                    done &= sent.test()?;
                }
                Ok(done)
            })?;
            return Ok(None);
        };
        world.until(place, || receive.test())?;
        self.come += 1;
        // Blocks that have been passed on need no memory any more.
        let mut left = Vec::new();
        for mut sent in self.sends.drain(..) {
            match sent.test() {
                Ok(true) => {}
                Ok(false) => left.push(sent),
                Err(message) => return world.broken(&self.what, message),
            }
        }
        self.sends = left;
        let block = Arc::new(receive.take());
        self.pass(Arc::clone(&block))?;
        Ok(Some((self.owner(self.come), block)))
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let mut code = GIVEN_UP;
        if std::thread::panicking() {
            self.tell(Note::Stop, 0, "it panicked");
            code = PANICKED;
        } else {
            let end = self.sound().and_then(|()| self.finish());
            // Nobody is left to say it: the process ends here.
            match end {
                Ok(()) => return,
                // In one piece, since all ranks' words come together.
                Err(error) => drop(std::io::stderr().write_all(format!("{error}\n").as_bytes())),
            }
        }
        self.job.sound = false;
        self.leave(code);
    }
}
