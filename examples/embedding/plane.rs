//! Embeddings in the plane of their first two principal components, as an SVG file.

use crate::Space;
use crate::data::Set;
use plotters::prelude::*;
use std::error::Error;
use std::path::Path;

/// Two classes of similar size that few genes share (0-based): colours say which of the two a gene has.
const CLASSES: [usize; 2] = [1, 4];
const COLOURS: [(RGBColor, &str); 4] = [
    (RGBColor(200, 200, 200), "neither"),
    (RGBColor(213, 94, 0), "class 2"),
    (RGBColor(0, 114, 178), "class 5"),
    (RGBColor(0, 0, 0), "both"),
];

/// Draws the test part in each space.
pub fn write(path: &Path, spaces: &[Space], test: &Set) -> Result<(), Box<dyn Error>> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?; // another target folder may be set
    }
    let area = SVGBackend::new(path, (400 * spaces.len() as u32, 430)).into_drawing_area();
    area.fill(&WHITE)?;
    for (panel, space) in area.split_evenly((1, spaces.len())).iter().zip(spaces) {
        let points = project(&crate::unit(&space.test, space.dims), space.dims);
        let reach = points
            .iter()
            .flatten()
            .fold(1e-6, |most: f64, v| most.max(v.abs()));
        let mut chart = ChartBuilder::on(panel)
            .caption(space.name, ("sans-serif", 18))
            .margin(12)
            .build_cartesian_2d(-reach..reach, -reach..reach)?;
        chart.configure_mesh().disable_mesh().draw()?;
        for (kind, (colour, name)) in COLOURS.iter().enumerate() {
            let has = |row: usize, i: usize| usize::from(test.y[row * test.classes + CLASSES[i]]);
            let rows = (0..test.rows).filter(|row| has(*row, 0) + 2 * has(*row, 1) == kind);
            let style = colour.filled();
            chart
                .draw_series(
                    rows.map(|row| Circle::new((points[row][0], points[row][1]), 2, style)),
                )?
                .label(*name)
                .legend(move |at| Circle::new(at, 4, style));
        }
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::LowerRight)
            .border_style(BLACK.mix(0.3))
            .background_style(WHITE.mix(0.8))
            .draw()?;
    }
    area.present()?;
    Ok(())
}

/// The rows along the two directions in which they vary most.
fn project(rows: &[f32], dims: usize) -> Vec<[f64; 2]> {
    let count = (rows.len() / dims).max(1) as f64;
    let mut centred: Vec<f64> = rows.iter().map(|x| f64::from(*x)).collect();
    for d in 0..dims {
        let mean = centred.iter().skip(d).step_by(dims).sum::<f64>() / count;
        centred
            .iter_mut()
            .skip(d)
            .step_by(dims)
            .for_each(|x| *x -= mean);
    }
    let mut out = vec![[0.0; 2]; rows.len() / dims];
    for axis in 0..2 {
        let direction = principal(&centred, dims);
        for (row, point) in centred.chunks_exact_mut(dims).zip(&mut out) {
            let along: f64 = row.iter().zip(&direction).map(|(x, v)| x * v).sum();
            point[axis] = along;
            // What is left for the next axis.
            row.iter_mut()
                .zip(&direction)
                .for_each(|(x, v)| *x -= along * v);
        }
    }
    out
}

/// The unit vector along which the rows vary most, by power iteration.
fn principal(rows: &[f64], dims: usize) -> Vec<f64> {
    let mut v: Vec<f64> = (0..dims).map(|d| 1.0 / (1.0 + d as f64)).collect();
    for _ in 0..200 {
        let mut next = vec![0.0; dims];
        for row in rows.chunks_exact(dims) {
            let along: f64 = row.iter().zip(&v).map(|(x, v)| x * v).sum();
            next.iter_mut().zip(row).for_each(|(n, x)| *n += along * x);
        }
        let norm = next.iter().map(|x| x * x).sum::<f64>().sqrt().max(1e-300);
        v = next.iter().map(|x| x / norm).collect();
    }
    v
}
