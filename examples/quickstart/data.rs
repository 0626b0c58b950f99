//! The Yeast set, read from its file and standardised.

use safetensors::{Dtype, SafeTensors};
use std::error::Error;
use std::path::Path;

/// Rows 0..1500 train, the rest test. (The published split is the other way round: its test part comes first in the
/// file, see examples/data/README.md. Numbers differ a little from those of papers.)
const TRAIN_ROWS: usize = 1500;

/// Samples, row-major.
pub struct Set {
    /// How many samples.
    pub rows: usize,
    /// Features of a sample.
    pub features: usize,
    /// Labels of a sample.
    pub classes: usize,
    /// `rows * features` numbers.
    pub x: Vec<f32>,
    /// `rows * classes` flags.
    pub y: Vec<u8>,
}

impl Set {
    /// Some of the samples, in the order given.
    pub fn pick(&self, rows: &[usize]) -> Set {
        let (mut x, mut y) = (Vec::new(), Vec::new());
        for row in rows {
            x.extend_from_slice(&self.x[row * self.features..][..self.features]);
            y.extend_from_slice(&self.y[row * self.classes..][..self.classes]);
        }
        Set {
            rows: rows.len(),
            x,
            y,
            ..*self
        }
    }
}

/// The train and the test part.
pub fn yeast(path: &Path) -> Result<(Set, Set), Box<dyn Error>> {
    let bytes = std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let file = SafeTensors::deserialize(&bytes)?;
    let (features, labels) = (file.tensor("features")?, file.tensor("labels")?);
    let (&[rows, width], &[label_rows, classes]) = (features.shape(), labels.shape()) else {
        return Err(format!("{}: features and labels must be matrices", path.display()).into());
    };
    if (features.dtype(), labels.dtype()) != (Dtype::F32, Dtype::U8)
        || rows != label_rows
        || rows <= TRAIN_ROWS
    {
        return Err(format!("{}: not the Yeast set", path.display()).into());
    }
    let numbers = features.data().chunks_exact(4);
    let mut x: Vec<f32> = numbers
        .map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]))
        .collect();
    standardise(&mut x, width);
    let all = Set {
        rows,
        features: width,
        classes,
        x,
        y: labels.data().to_vec(),
    };
    let (train, test): (Vec<usize>, Vec<usize>) = (0..rows).partition(|row| *row < TRAIN_ROWS);
    Ok((all.pick(&train), all.pick(&test)))
}

/// Gives every feature mean 0 and variance 1 over the train rows; the test rows have no say in it.
fn standardise(x: &mut [f32], width: usize) {
    for feature in 0..width {
        let column = x.iter().skip(feature).step_by(width).take(TRAIN_ROWS);
        let (mut sum, mut squares) = (0.0, 0.0);
        for value in column {
            sum += f64::from(*value);
            squares += f64::from(*value).powi(2);
        }
        let mean = sum / TRAIN_ROWS as f64;
        let deviation = (squares / TRAIN_ROWS as f64 - mean * mean)
            .max(1e-12)
            .sqrt();
        for value in x.iter_mut().skip(feature).step_by(width) {
            *value = ((f64::from(*value) - mean) / deviation) as f32;
        }
    }
}
