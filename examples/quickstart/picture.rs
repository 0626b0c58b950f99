//! Learning curves and scores as SVG files: unlike a bitmap they need no font to be found on the machine.

use crate::{Compared, Run};
use plotters::coord::Shift;
use plotters::prelude::*;
use std::error::Error;
use std::path::Path;
use wgloss::MetricValues;

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Score = fn(&MetricValues) -> f64;

/// An empty picture.
fn sheet(path: &Path, size: (u32, u32)) -> Result<Area<'_>, Box<dyn Error>> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?; // another target folder may be set
    }
    let area = SVGBackend::new(path, size).into_drawing_area();
    area.fill(&WHITE)?;
    Ok(area)
}

/// Writes the test scores on the left and the train losses on the right.
pub fn curves(path: &Path, runs: &[Run]) -> Result<(), Box<dyn Error>> {
    let area = sheet(path, (1000, 420))?;
    let (left, right) = area.split_horizontally(500);
    let scores = |run: &Run| run.test.iter().map(|s| s.f1_micro).collect();
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
    let (low, high) = range(curves.iter().flatten().copied())?;
    let epochs = curves.iter().map(Vec::len).max().unwrap_or(0);
    let mut chart = ChartBuilder::on(area)
        .caption(title, ("sans-serif", 18))
        .margin(12)
        .x_label_area_size(36)
        .y_label_area_size(52)
        .build_cartesian_2d(1.0..epochs as f64, low..high)?;
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

/// The least and the largest value, with a margin.
fn range(values: impl Iterator<Item = f64> + Clone) -> Result<(f64, f64), Box<dyn Error>> {
    let values = values.filter(|v| v.is_finite());
    let (low, high) = (
        values.clone().fold(f64::INFINITY, f64::min),
        values.fold(f64::NEG_INFINITY, f64::max),
    );
    if low > high {
        return Err("no finite value to draw".into());
    }
    let margin = 0.05 * (high - low).max(1e-6);
    Ok((low - margin, high + margin))
}

/// Writes a panel for each score, with a line for each loss. Dots and not bars: bars would have to begin at 0, where
/// the differences could not be seen.
pub fn scores(path: &Path, found: &[Compared]) -> Result<(), Box<dyn Error>> {
    const NAMES: u32 = 110;
    const WIDTH: u32 = 210;
    let panels: [(&str, Score); 5] = [
        ("subset accuracy", |s| s.subset_accuracy),
        ("micro F1", |s| s.f1_micro),
        ("macro F1", |s| s.f1_macro),
        ("ranking loss (less is better)", |s| s.ranking_loss),
        ("average precision", |s| s.average_precision),
    ];
    let mut rest = sheet(path, (NAMES + panels.len() as u32 * WIDTH, 460))?;
    for (i, (title, score)) in panels.into_iter().enumerate() {
        let names = if i == 0 { NAMES } else { 0 };
        let (area, right) = rest.split_horizontally(names + WIDTH);
        rest = right;
        let values = found.iter().map(|one| score(&one.test));
        let (low, high) = range(values.clone())?;
        let last = found.len() as i32;
        let mut chart = ChartBuilder::on(&area)
            .caption(title, ("sans-serif", 14))
            .margin(10)
            .x_label_area_size(30)
            .y_label_area_size(names)
            .build_cartesian_2d(low..high, last..-1)?;
        chart
            .configure_mesh()
            .x_labels(4)
            .x_label_formatter(&|value| format!("{value:.3}"))
            .y_labels(found.len() + 2)
            .y_label_formatter(&|line| {
                let one = usize::try_from(*line).ok().and_then(|line| found.get(line));
                one.map_or_else(String::new, |one| one.loss.name.into())
            })
            .light_line_style(TRANSPARENT)
            .draw()?;
        let dots = (0..).zip(values);
        chart.draw_series(dots.map(|(line, value)| {
            let style = Palette99::pick(0).filled();
            Circle::new((value, line), 4, style)
        }))?;
    }
    rest.present()?;
    Ok(())
}
