//! Prometheus' text format 0.0.4. Never in here: what a metric means.

use std::fmt::{self, Write};

use crate::ipc::durations::{BOUNDS, Histogram};

/// A page in the making.
pub(super) struct Page(pub(super) String);

impl Page {
    pub(super) fn gauge(&mut self, name: &'static str, help: &str) -> Metric<'_> {
        self.metric(name, "gauge", help)
    }

    pub(super) fn counter(&mut self, name: &'static str, help: &str) -> Metric<'_> {
        self.metric(name, "counter", help)
    }

    pub(super) fn metric(&mut self, name: &'static str, kind: &str, help: &str) -> Metric<'_> {
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
        Metric {
            page: &mut self.0,
            name,
        }
    }
}

/// A metric's lines, under its name and what is said of it.
pub(super) struct Metric<'a> {
    page: &'a mut String,
    name: &'static str,
}

impl Metric<'_> {
    pub(super) fn value(&mut self, value: u64) {
        self.line("", "", "", value);
    }

    /// A series of one label.
    pub(super) fn of(&mut self, label: &str, text: &dyn fmt::Display, value: u64) {
        self.line("", &labelled(label, text), "", value);
    }

    /// A line; the labels are written already. A thousand services have tens of thousands of these.
    pub(super) fn line(
        &mut self,
        suffix: &str,
        labels: &str,
        more: &str,
        value: impl fmt::Display,
    ) {
        self.page.push_str(self.name);
        self.page.push_str(suffix);
        if !labels.is_empty() {
            self.page.push('{');
            self.page.push_str(labels);
            if !more.is_empty() {
                self.page.push(',');
                self.page.push_str(more);
            }
            self.page.push('}');
        }
        let _ = writeln!(self.page, " {value}");
    }
}

impl Metric<'_> {
    /// A histogram. Its parts were read one after another: what they add up to is its count.
    pub(super) fn durations(&mut self, labels: &str, bounds: &[String; BOUNDS], read: &Histogram) {
        let up_to = read.up_to();
        for (bound, count) in bounds.iter().zip(up_to) {
            self.line("_bucket", labels, bound, count);
        }
        let all = up_to[BOUNDS];
        self.line("_bucket", labels, "le=\"+Inf\"", all);
        let (seconds, rest) = (read.micros / 1_000_000, read.micros % 1_000_000);
        self.line("_sum", labels, "", format_args!("{seconds}.{rest:06}"));
        self.line("_count", labels, "", all);
    }
}

/// `label="text"`, as the format has it.
pub(super) fn labelled(label: &str, text: &dyn fmt::Display) -> String {
    let text = text.to_string();
    let text = text.replace('\\', "\\\\");
    let text = text.replace('"', "\\\"").replace('\n', "\\n");
    format!("{label}=\"{text}\"")
}
