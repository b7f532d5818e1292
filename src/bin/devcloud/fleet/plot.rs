//! Draws a curve as SVG, with the phases of the run in the background.

use super::curve::Curve;
use plotters::prelude::*;
use std::path::Path;

/// A part of the run, in seconds from its start.
#[derive(Clone, Debug)]
pub(crate) struct Phase {
    pub name: &'static str,
    pub from: i64,
    pub to: i64,
}

const SIZE: (u32, u32) = (960, 320);
/// Distances of the names of phases from the top, in turn, in pixels.
const NAMES: [i32; 2] = [4, 20];
const LINE: RGBColor = RGBColor(0x15, 0x65, 0xc0);
const BAND: RGBColor = RGBColor(0xf2, 0xf4, 0xf7);

/// Draws `curve` from second `start` to `end`, and `limit` as a horizontal line.
///
/// # Errors
/// The file cannot be written.
pub(crate) fn draw(
    file: &Path,
    title: &str,
    curve: &Curve,
    (start, end): (i64, i64),
    phases: &[Phase],
    limit: Option<u64>,
) -> Result<(), String> {
    let failed = |e: &dyn std::fmt::Display| format!("{}: {e}", file.display());
    let root = SVGBackend::new(file, SIZE).into_drawing_area();
    root.fill(&WHITE).map_err(|e| failed(&e))?;
    let highest = curve.values().copied().chain(limit).max().unwrap_or(0).max(1);
    let top = highest + highest.div_ceil(5);
    let mut chart = ChartBuilder::on(&root)
        .caption(title, ("sans-serif", 18))
        .margin(12)
        .x_label_area_size(34)
        .y_label_area_size(52)
        .build_cartesian_2d(0..(end - start).max(1), 0..top)
        .map_err(|e| failed(&e))?;
    let bands = phases
        .iter()
        .step_by(2)
        .map(|phase| Rectangle::new([(phase.from - start, 0), (phase.to - start, top)], BAND.filled()));
    chart.draw_series(bands).map_err(|e| failed(&e))?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .light_line_style(WHITE)
        .x_desc("seconds")
        .x_labels(12)
        .y_labels(6)
        .draw()
        .map_err(|e| failed(&e))?;
    let points = curve.range(start..=end).map(|(at, value)| (at - start, *value));
    chart.draw_series(LineSeries::new(points, LINE.stroke_width(2))).map_err(|e| failed(&e))?;
    if let Some(limit) = limit {
        let across = [(0, limit), (end - start, limit)];
        chart.draw_series(LineSeries::new(across, RED.stroke_width(1))).map_err(|e| failed(&e))?;
    }
    // At two heights, so that the names of short phases do not overlap; those at the end further left.
    let room = (end - start) / 9;
    let names = phases.iter().zip(NAMES.into_iter().cycle()).map(|(phase, down)| {
        let across = (phase.from - start).min(end - start - room).max(0);
        EmptyElement::at((across, top)) + Text::new(phase.name, (3, down), ("sans-serif", 13))
    });
    chart.draw_series(names).map_err(|e| failed(&e))?;
    root.present().map_err(|e| failed(&e))
}
