//! The learning curves as an SVG file: unlike a bitmap it needs no font to be found on the machine.

use crate::Run;
use plotters::coord::Shift;
use plotters::prelude::*;
use std::error::Error;
use std::path::Path;

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// Writes the test scores on the left and the train losses on the right.
pub fn write(path: &Path, runs: &[Run]) -> Result<(), Box<dyn Error>> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?; // another target folder may be set
    }
    let area = SVGBackend::new(path, (1000, 420)).into_drawing_area();
    area.fill(&WHITE)?;
    let (left, right) = area.split_horizontally(500);
    let scores = |run: &Run| run.test.iter().map(|s| s.micro_f1).collect();
    panel(&left, "micro F1 on the test set", runs, scores)?;
    // Losses have scales of their own; against their first epoch they fit one axis.
    let losses = |run: &Run| {
        run.train_loss
            .iter()
            .map(|l| l / run.train_loss[0])
            .collect()
    };
    panel(&right, "train loss / that of the first epoch", runs, losses)?;
    area.present()?;
    Ok(())
}

/// Draws one curve for each run.
fn panel(
    area: &Area<'_>,
    title: &str,
    runs: &[Run],
    curve: impl Fn(&Run) -> Vec<f64>,
) -> Result<(), Box<dyn Error>> {
    let curves: Vec<Vec<f64>> = runs.iter().map(curve).collect();
    let values = || curves.iter().flatten().copied().filter(|v| v.is_finite());
    let (low, high) = (
        values().fold(f64::INFINITY, f64::min),
        values().fold(f64::NEG_INFINITY, f64::max),
    );
    if low > high {
        return Err("no finite value to draw".into());
    }
    let margin = 0.05 * (high - low).max(1e-6);
    let epochs = curves.iter().map(Vec::len).max().unwrap_or(0);
    let mut chart = ChartBuilder::on(area)
        .caption(title, ("sans-serif", 18))
        .margin(12)
        .x_label_area_size(36)
        .y_label_area_size(52)
        .build_cartesian_2d(1.0..epochs as f64, low - margin..high + margin)?;
    chart
        .configure_mesh()
        .x_desc("epoch")
        .x_label_formatter(&|epoch| format!("{epoch:.0}"))
        .y_label_formatter(&|value| format!("{value:.2}"))
        .light_line_style(TRANSPARENT)
        .draw()?;
    for (i, (run, curve)) in runs.iter().zip(&curves).enumerate() {
        let style = Palette99::pick(i).stroke_width(2);
        let points = (1..).map(f64::from).zip(curve.iter().copied());
        chart
            .draw_series(LineSeries::new(points, style))?
            .label(run.name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 20, y)], style));
    }
    chart
        .configure_series_labels()
        .border_style(BLACK.mix(0.3))
        .background_style(WHITE)
        .draw()?;
    Ok(())
}
