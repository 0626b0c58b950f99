//! What can go wrong on one rank, on another, and between them.

use std::fmt;
use std::time::Duration;

/// Why a call over several ranks came to nothing. Every sentence names the rank and the collective it is about, and begins
/// with the rank that says it.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Error {
    /// The launcher and the MPI library do not go together, or the library does not do what is needed.
    Launch(String),
    /// This rank's own call was refused, or its device failed.
    Here {
        /// This rank.
        rank: usize,
        /// What was refused or failed.
        error: wgloss::Error,
    },
    /// Another rank has said that it goes no further.
    Elsewhere {
        /// This rank.
        rank: usize,
        /// Which one.
        other: usize,
        /// What this rank was at.
        collective: String,
        /// What it said.
        message: String,
    },
    /// Ranks did not come to a collective in time, or the job was ended while they were waited for.
    Missing(Box<Absence>),
    /// Ranks were called with things that have to be the same and are not.
    Differs(Box<Difference>),
    /// The MPI library has reported an error.
    Mpi {
        /// This rank.
        rank: usize,
        /// The collective.
        collective: String,
        /// What the library says.
        message: String,
    },
}

/// Ranks that did not come to a collective.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Absence {
    /// The rank that waited.
    pub rank: usize,
    /// The collective.
    pub collective: String,
    /// Those of which nothing was heard.
    pub silent: Vec<usize>,
    /// Those that wait at another collective, and at which.
    pub astray: Vec<(usize, String)>,
    /// How long the rank had waited.
    pub waited: Duration,
    /// Whether the launcher has ended the job meanwhile, as it does when a rank dies.
    pub ended: bool,
}

/// What ranks have that most others do not.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Difference {
    /// The rank that has found it.
    pub rank: usize,
    /// The call.
    pub call: String,
    /// The ranks that differ.
    pub ranks: Vec<usize>,
    /// In what.
    pub what: String,
    /// What the first of these has.
    pub found: String,
    /// What most others have.
    pub expected: String,
}

/// `rank 2`, `ranks 1, 2 and 5`.
fn list(ranks: &[usize]) -> String {
    match ranks {
        [] => "no rank".into(),
        [one] => format!("rank {one}"),
        [most @ .., last] => {
            let most: Vec<String> = most.iter().map(usize::to_string).collect();
            format!("ranks {} and {last}", most.join(", "))
        }
    }
}

impl fmt::Display for Absence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut who = Vec::new();
        if !self.silent.is_empty() {
            who.push(format!("{} did not come", list(&self.silent)));
        }
        for (other, place) in &self.astray {
            who.push(format!("rank {other} waits at {place}"));
        }
        if who.is_empty() {
            who.push("all ranks wait, and nothing arrives".into());
        }
        let (who, waited) = (who.join(", "), self.waited.as_secs_f64());
        write!(f, "rank {}: at {}: {who}; ", self.rank, self.collective)?;
        match self.ended {
            true => write!(
                f,
                "the launcher ended the job after {waited:.1} s of waiting"
            ),
            false => write!(f, "nothing for {waited:.1} s"),
        }
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Difference {
            rank,
            call,
            ranks,
            what,
            found,
            expected,
        } = self;
        let verb = if ranks.len() == 1 { "has" } else { "have" };
        let who = list(ranks);
        write!(
            f,
            "rank {rank}: before the first collective of {call}: {who} {verb} {what} {found}, others {expected}"
        )
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Launch(reason) => f.write_str(reason),
            Error::Here { rank, error } => write!(f, "rank {rank}: {error}"),
            Error::Elsewhere {
                rank,
                other,
                collective,
                message,
            } => write!(
                f,
                "rank {rank}: at {collective}, rank {other} said that it goes no further: {message}"
            ),
            Error::Missing(absence) => absence.fmt(f),
            Error::Differs(difference) => difference.fmt(f),
            Error::Mpi {
                rank,
                collective,
                message,
            } => write!(f, "rank {rank}: at {collective}: MPI says: {message}"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::Here { error, .. } => Some(error),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sentences_name_ranks_and_collective() {
        let missing = Absence {
            rank: 0,
            collective: "all-gather of accumulators".into(),
            silent: vec![2, 3],
            astray: vec![(1, "the end".into())],
            waited: Duration::from_secs(60),
            ended: false,
        };
        assert_eq!(
            missing.to_string(),
            "rank 0: at all-gather of accumulators: ranks 2 and 3 did not come, rank 1 waits at the end; nothing for 60.0 s"
        );
        let differs = Difference {
            rank: 1,
            call: "rows".into(),
            ranks: vec![2],
            what: "loss".into(),
            found: "bce".into(),
            expected: "zlpr".into(),
        };
        assert_eq!(
            differs.to_string(),
            "rank 1: before the first collective of rows: rank 2 has loss bce, others zlpr"
        );
        assert_eq!(list(&[1, 2, 5]), "ranks 1, 2 and 5");
    }
}
