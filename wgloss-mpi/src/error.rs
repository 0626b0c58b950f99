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
    Missing {
        /// This rank.
        rank: usize,
        /// The collective.
        collective: String,
        /// Those of which nothing was heard.
        silent: Vec<usize>,
        /// Those that wait at another collective, and at which.
        astray: Vec<(usize, String)>,
        /// How long this rank had waited.
        waited: Duration,
        /// Whether the launcher has ended the job meanwhile, as it does when a rank dies.
        ended: bool,
    },
    /// Ranks were called with things that have to be the same and are not.
    Differs {
        /// This rank.
        rank: usize,
        /// The call.
        call: String,
        /// The ranks that differ from most others.
        ranks: Vec<usize>,
        /// In what.
        what: String,
        /// What the first of these has.
        found: String,
        /// What most others have.
        expected: String,
    },
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
            Error::Missing {
                rank,
                collective,
                silent,
                astray,
                waited,
                ended,
            } => {
                write!(f, "rank {rank}: ")?;
                match silent.as_slice() {
                    [] => write!(f, "no rank is silent")?,
                    ranks => write!(f, "{} did not come", list(ranks))?,
                }
                write!(f, " to {collective}")?;
                for (other, place) in astray {
                    write!(f, ", rank {other} waits at {place}")?;
                }
                match ended {
                    true => write!(
                        f,
                        "; the launcher ended the job after {:.1} s of waiting",
                        waited.as_secs_f64()
                    ),
                    false => write!(f, " within {:.1} s", waited.as_secs_f64()),
                }
            }
            Error::Differs {
                rank,
                call,
                ranks,
                what,
                found,
                expected,
            } => {
                let verb = if ranks.len() == 1 { "has" } else { "have" };
                write!(
                    f,
                    "rank {rank}: before the first collective of {call}: {} {verb} {what} {found}, others {expected}",
                    list(ranks)
                )
            }
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
        let missing = Error::Missing {
            rank: 0,
            collective: "all-gather of accumulators".into(),
            silent: vec![2, 3],
            astray: vec![(1, "the end".into())],
            waited: Duration::from_secs(60),
            ended: false,
        };
        assert_eq!(
            missing.to_string(),
            "rank 0: ranks 2 and 3 did not come to all-gather of accumulators, rank 1 waits at the end within 60.0 s"
        );
        let differs = Error::Differs {
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
