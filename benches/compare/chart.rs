//! A run's ratios as a picture: a group of bars a row, a bar a peer. Below 1 adit is cheaper.

use std::error::Error;
use std::path::Path;

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use serde_json::Value;

/// A bar's height and the space between two groups, in pixels.
const BAR: u32 = 9;
const GAP: u32 = 9;
/// The picture's width, and what of it row labels take.
const WIDTH: u32 = 860;
const LABELS: u32 = 260;
/// Where the axis ends; a longer bar is cut, and its number says so.
const MOST: f64 = 1.25;
/// Told apart by those who do not see red from green, too (Okabe and Ito).
const COLOURS: [RGBColor; 5] = [
    RGBColor(0, 114, 178),
    RGBColor(230, 159, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(120, 120, 120),
];

/// A group of bars.
#[derive(Debug, Clone, PartialEq)]
pub struct Group {
    /// The row's label.
    pub label: String,
    /// The place of a peer, and the ratio to it.
    pub bars: Vec<(usize, f64)>,
}

/// The peers that ratios are to, and the groups, of a run's JSON; `None` where it is none. The
/// floors are no peers.
pub fn groups(run: &Value) -> Option<(Vec<String>, Vec<Group>)> {
    let names = run["peers"].as_array()?.iter();
    let names = names.map(|peer| peer["name"].as_str().map(str::to_owned));
    let names: Vec<String> = names.collect::<Option<_>>()?;
    let peers: Vec<String> = names
        .into_iter()
        .skip(1)
        .filter(|name| name != "sockets" && name != "rustls")
        .collect();
    let mut groups = Vec::new();
    for row in run["rows"].as_array()? {
        let ratio = |(place, name): (usize, &String)| {
            let ratio = row["peers"][name]["median_ratio"].as_f64()?;
            Some((place, ratio))
        };
        groups.push(Group {
            label: row["label"].as_str()?.to_owned(),
            bars: peers.iter().enumerate().filter_map(ratio).collect(),
        });
    }
    Some((peers, groups))
}

/// Draws a run's JSON into an SVG file.
///
/// # Errors
/// It is not a run's, or the file cannot be written.
pub fn draw(run: &Value, file: &Path) -> Result<(), Box<dyn Error>> {
    let (peers, groups) = groups(run).ok_or("not the JSON of a run of rows")?;
    let heights = groups.iter().map(|g| g.bars.len() as u32 * BAR + GAP);
    let plot: u32 = heights.sum();
    let root = SVGBackend::new(file, (WIDTH, plot + 70)).into_drawing_area();
    root.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&root)
        .margin(10)
        .margin_right(30)
        .set_label_area_size(LabelAreaPosition::Left, LABELS)
        .set_label_area_size(LabelAreaPosition::Bottom, 40)
        .build_cartesian_2d(0.0..MOST, f64::from(plot)..0.0)?;
    chart
        .configure_mesh()
        .disable_y_mesh()
        .y_labels(0)
        .x_labels(6)
        .light_line_style(TRANSPARENT)
        .x_desc("adit's cost / the other's; below 1 adit is cheaper")
        .draw()?;
    let right =
        TextStyle::from(("sans-serif", 13).into_font()).pos(Pos::new(HPos::Right, VPos::Center));
    let left =
        TextStyle::from(("sans-serif", 9).into_font()).pos(Pos::new(HPos::Left, VPos::Center));
    let mut top = f64::from(GAP) / 2.0;
    let legend =
        TextStyle::from(("sans-serif", 13).into_font()).pos(Pos::new(HPos::Left, VPos::Center));
    for group in &groups {
        let middle = top + group.bars.len() as f64 * f64::from(BAR) / 2.0;
        let (x, y) = chart.backend_coord(&(0.0, middle));
        root.draw_text(&group.label, &right, (x - 8, y))?;
        for (place, ratio) in &group.bars {
            let bottom = top + f64::from(BAR) - 1.0;
            let end = ratio.min(MOST);
            let style = COLOURS[place % COLOURS.len()].filled();
            chart.draw_series([Rectangle::new([(0.0, top), (end, bottom)], style)])?;
            let (x, y) = chart.backend_coord(&(end, f64::midpoint(top, bottom)));
            root.draw_text(&format!("{ratio:.2}"), &left, (x + 3, y))?;
            top += f64::from(BAR);
        }
        top += f64::from(GAP);
    }
    chart.draw_series([PathElement::new(
        [(1.0, 0.0), (1.0, f64::from(plot))],
        BLACK.stroke_width(1),
    )])?;
    for (place, peer) in peers.iter().enumerate() {
        let style = COLOURS[place % COLOURS.len()].filled();
        let below = (peers.len() - place) as u32;
        let y = f64::from(plot) - f64::from(below) * 16.0;
        let (x, y) = chart.backend_coord(&(MOST, y));
        root.draw(&Rectangle::new([(x - 70, y - 4), (x - 60, y + 4)], style))?;
        root.draw_text(peer, &legend, (x - 55, y))?;
    }
    root.present()?;
    Ok(())
}
