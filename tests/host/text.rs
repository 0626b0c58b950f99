//! Settings as text and back.

use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt::Debug;
use wgloss::losses::contrastive::Weighting;
use wgloss::losses::hcal::Aggregation;
use wgloss::losses::wdl::{PairWeights, Phi};
use wgloss::{AnyLoss, Balance, CATALOG, Contrastive, Denominator, Hcal, Mcm, Reduction, Wdl};

fn there_and_back<T: Serialize + DeserializeOwned + PartialEq + Debug>(settings: T) {
    let text = serde_json::to_string(&settings).expect("settings have a text");
    let again: T = serde_json::from_str(&text).expect("the text of settings is read");
    assert_eq!(again, settings, "{text}");
}

#[test]
fn settings_are_text_and_come_back() {
    for entry in CATALOG {
        there_and_back(entry.loss());
        there_and_back(entry.loss().with_reduction(Reduction::MeanOver(7.5)));
    }
    let wdl = Wdl::pairs(PairWeights::Rank(3)).with_phi(Phi::Huber { delta: 0.25 });
    there_and_back(AnyLoss::from(wdl));
    for (_, _, loss) in Contrastive::CATALOG {
        there_and_back(loss.with_denominator(Denominator::OnePositive));
    }
    there_and_back(Contrastive::new(Weighting::Given, 0.1));
    there_and_back(Hcal::default().with_aggregation(Aggregation::Tree));
    there_and_back(Mcm::default().with_row_sum());
    for balance in [
        Balance::default(),
        Balance::Dwa { temperature: 2.0 },
        Balance::Uncertainty,
        Balance::Random,
        Balance::Fixed,
    ] {
        there_and_back(balance);
    }
}
