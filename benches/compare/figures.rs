//! Single figures, each with the bar it is held against: what `--scale`, `--latency` and `--start`
//! give.

use serde_json::{Value, json};

use super::report::{cost, machine, table};

/// What a figure is to be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Bar {
    /// It is told, not judged.
    None,
    /// At most this.
    AtMost(f64),
    /// At least this.
    AtLeast(f64),
}

/// Something measured.
#[derive(Debug, Clone, PartialEq)]
pub struct Figure {
    /// For people.
    pub what: String,
    /// In `unit`.
    pub value: f64,
    /// Its unit; empty for a ratio.
    pub unit: &'static str,
    /// What it is to be.
    pub bar: Bar,
}

/// A figure that is only told.
pub fn told(what: impl Into<String>, value: f64, unit: &'static str) -> Figure {
    judged(what, value, unit, Bar::None)
}

/// A figure with a bar.
pub fn judged(what: impl Into<String>, value: f64, unit: &'static str, bar: Bar) -> Figure {
    Figure {
        what: what.into(),
        value,
        unit,
        bar,
    }
}

impl Figure {
    /// Whether it reaches its bar; `None` where it has none.
    pub fn met(&self) -> Option<bool> {
        match self.bar {
            Bar::None => None,
            Bar::AtMost(most) => Some(self.value <= most),
            Bar::AtLeast(least) => Some(self.value >= least),
        }
    }

    fn bar(&self) -> String {
        let words = match self.bar {
            Bar::None => return String::new(),
            Bar::AtMost(most) => format!("at most {most}"),
            Bar::AtLeast(least) => format!("at least {least}"),
        };
        let met = self.met() == Some(true);
        format!("{words}: {}", if met { "met" } else { "missed" })
    }
}

/// For people, as Markdown.
pub fn text(title: &str, figures: &[Figure]) -> String {
    let mut rows = vec![
        ["what", "figure", "unit", "bar"]
            .map(str::to_owned)
            .to_vec(),
    ];
    for figure in figures {
        let value = match figure.unit {
            "" => format!("{:.2}", figure.value),
            _ => cost(figure.value),
        };
        let unit = figure.unit.to_owned();
        rows.push(vec![figure.what.clone(), value, unit, figure.bar()]);
    }
    format!("{title}, {}\n\n{}", machine(), table(&rows))
}

/// For programs.
pub fn json(title: &str, figures: &[Figure]) -> Value {
    let list: Vec<Value> = figures
        .iter()
        .map(|figure| {
            let bar = match figure.bar {
                Bar::None => Value::Null,
                Bar::AtMost(most) => json!({"at_most": most}),
                Bar::AtLeast(least) => json!({"at_least": least}),
            };
            json!({
                "what": figure.what,
                "value": figure.value,
                "unit": figure.unit,
                "bar": bar,
                "met": figure.met(),
            })
        })
        .collect();
    json!({"title": title, "machine": machine(), "figures": list})
}
