//! What ranks must have in common, found out before the first collective of a call.
//!
//! Two all-gathers: how long each rank's text is, then the texts, as long as the longest. A rank whose own checks have failed
//! comes, too, and says so, so that nobody waits for it.

use crate::error::{Difference, Error};
use crate::ffi::Words;
use crate::world::World;

/// Between the fields of a text, and before the reason of a rank that goes no further.
const FIELD: char = '\u{1f}';
const STOP: char = '\u{18}';

/// What has to be the same on all ranks: names and values.
pub(crate) type Common = Vec<(&'static str, String)>;

/// What a rank has said.
#[derive(Debug, PartialEq)]
enum Said {
    Common(Vec<(String, String)>, Vec<u64>),
    Stop(String),
}

fn encode(version: &str, call: &str, mine: &Result<(Common, Vec<u64>), wgloss::Error>) -> String {
    let mut fields = vec!["crate version".to_owned(), version.to_owned()];
    match mine {
        Err(error) => return format!("{STOP}{error}"),
        Ok((common, own)) => {
            fields.extend(["call".to_owned(), call.to_owned()]);
            for (name, value) in common {
                fields.extend([(*name).to_owned(), value.clone()]);
            }
            let own: Vec<String> = own.iter().map(u64::to_string).collect();
            fields.push(own.join(" "));
        }
    }
    fields.join(&FIELD.to_string())
}

fn decode(text: &str) -> Said {
    if let Some(reason) = text.strip_prefix(STOP) {
        return Said::Stop(reason.to_owned());
    }
    let mut fields: Vec<&str> = text.split(FIELD).collect();
    let own = fields.pop().unwrap_or_default();
    let own = own.split(' ').filter_map(|n| n.parse().ok()).collect();
    let pairs = fields.chunks_exact(2);
    let common = pairs.map(|pair| (pair[0].to_owned(), pair[1].to_owned()));
    Said::Common(common.collect(), own)
}

/// What every rank makes of what all have said: the same on all of them.
fn verdict(rank: usize, call: &str, all: &[Said]) -> Result<Vec<Vec<u64>>, Error> {
    let mut said = Vec::new();
    for (other, one) in all.iter().enumerate() {
        match one {
            Said::Common(common, own) => said.push((common, own)),
            Said::Stop(message) => {
                return Err(Error::Elsewhere {
                    rank,
                    other,
                    collective: format!("the handshake of {call}"),
                    message: message.clone(),
                });
            }
        }
    }
    let most = said.iter().map(|(common, _)| common.len()).max();
    for at in 0..most.unwrap_or(0) {
        let value = |i: usize| said[i].0.get(at);
        let votes = |i: usize| (0..said.len()).filter(|j| value(*j) == value(i)).count();
        // Of equally many the lowest rank is right.
        let Some(right) = (0..said.len()).rev().max_by_key(|i| votes(*i)) else {
            break;
        };
        let ranks: Vec<usize> = (0..said.len())
            .filter(|i| value(*i) != value(right))
            .collect();
        if let Some(first) = ranks.first() {
            let of = |i: usize| value(i).map_or("nothing", |(_, value)| value).to_owned();
            let name = value(*first).or(value(right)).map(|(name, _)| name.clone());
            return Err(Error::Differs(Box::new(Difference {
                rank,
                call: call.to_owned(),
                what: name.unwrap_or_default(),
                found: of(*first),
                expected: of(right),
                ranks,
            })));
        }
    }
    Ok(said.into_iter().map(|(_, own)| own.clone()).collect())
}

impl World {
    /// Compares what has to be the same, and gives every rank's own numbers to all. A rank that was refused something gives
    /// its error instead.
    pub(crate) fn agree(
        &self,
        call: &str,
        mine: Result<(Common, Vec<u64>), wgloss::Error>,
    ) -> Result<Vec<Vec<u64>>, Error> {
        let handshake = format!("the handshake of {call}");
        let text = encode(&self.version, call, &mine);
        let len = text.len();
        let lens = self.all_gather(&handshake, Words::Owned(vec![len as u32]), 1)?;
        let most = lens.iter().map(|len| (*len as usize).div_ceil(4)).max();
        let most = most.unwrap_or(0);
        let mut words = vec![0_u32; most];
        let bytes: &mut [u8] = bytemuck::cast_slice_mut(&mut words);
        bytes[..len].copy_from_slice(text.as_bytes());
        let all = self.all_gather(&handshake, Words::Owned(words), most)?;
        let texts = all
            .chunks_exact(most.max(1))
            .zip(&lens)
            .map(|(words, len)| {
                let bytes: &[u8] = bytemuck::cast_slice(words);
                decode(&String::from_utf8_lossy(&bytes[..*len as usize]))
            });
        let said: Vec<Said> = texts.collect();
        match (mine, verdict(self.rank(), call, &said)) {
            (Err(error), _) => self.here(error),
            (Ok(_), Err(error)) => self.fail(error),
            (Ok(_), Ok(own)) => Ok(own),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(version: &str, call: &str, loss: &str, own: u64) -> Said {
        let common = vec![("loss", loss.to_owned())];
        decode(&encode(version, call, &Ok((common, vec![own, 7]))))
    }

    #[test]
    fn own_numbers_reach_all_where_the_rest_is_the_same() {
        let all = [said("1", "rows", "bce", 3), said("1", "rows", "bce", 0)];
        assert_eq!(verdict(0, "rows", &all), Ok(vec![vec![3, 7], vec![0, 7]]));
        assert_eq!(verdict(0, "rows", &all[..1]), Ok(vec![vec![3, 7]]));
    }

    #[test]
    fn the_rank_that_differs_is_named_also_where_it_is_the_first() {
        let bce = || said("1", "rows", "bce", 3);
        let differs = |all: &[Said]| match verdict(1, "rows", all) {
            Err(Error::Differs(it)) => (it.ranks, it.what, it.found, it.expected),
            other => panic!("{other:?}"),
        };
        let expected = |ranks, what: &str, found: &str, right: &str| {
            (ranks, what.to_owned(), found.to_owned(), right.to_owned())
        };
        assert_eq!(
            differs(&[said("1", "rows", "zlpr", 3), bce(), bce()]),
            expected(vec![0], "loss", "zlpr", "bce")
        );
        assert_eq!(
            differs(&[bce(), said("2", "rows", "bce", 3)]),
            expected(vec![1], "crate version", "2", "1")
        );
        assert_eq!(
            differs(&[bce(), bce(), said("1", "linear", "bce", 3)]),
            expected(vec![2], "call", "linear", "rows")
        );
        let less = Said::Common(vec![("crate version".into(), "1".into())], Vec::new());
        assert_eq!(
            differs(&[bce(), bce(), less]),
            expected(vec![2], "call", "nothing", "rows")
        );
    }

    #[test]
    fn a_rank_that_was_refused_is_named() {
        let refused = Err(wgloss::Error::refused("targets", "are missing"));
        let all = [
            said("1", "rows", "bce", 3),
            decode(&encode("1", "rows", &refused)),
        ];
        let Err(Error::Elsewhere { other, message, .. }) = verdict(0, "rows", &all) else {
            panic!("accepted");
        };
        assert_eq!((other, message.as_str()), (1, "targets: are missing"));
    }
}
