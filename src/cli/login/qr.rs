//! An address as a QR code of a terminal's characters, for a telephone's camera. Never in here: what the address is for.

use std::fmt;

use qrcode::{EcLevel, QrCode};

/// The columns of most terminals.
const WIDTH: usize = 80;
/// The quiet zone, in modules: the standard has 4, and readers are content with 2.
const MARGIN: isize = 2;

/// Two rows of modules in each line, white on black as most terminals are: readers take both.
pub(super) struct Picture {
    modules: Vec<bool>,
    width: isize,
}

impl Picture {
    /// `None`: it does not fit into a terminal.
    pub(super) fn of(text: &str) -> Option<Picture> {
        let code = QrCode::with_error_correction_level(text, EcLevel::L).ok()?;
        let width = code.width();
        let fits = width + 2 * MARGIN.unsigned_abs() <= WIDTH;
        fits.then(|| Picture {
            modules: code
                .to_colors()
                .iter()
                .map(|color| *color == qrcode::Color::Dark)
                .collect(),
            width: width as isize,
        })
    }

    fn is_dark(&self, x: isize, y: isize) -> bool {
        let within = (0..self.width).contains(&x) && (0..self.width).contains(&y);
        let at = usize::try_from(y * self.width + x).ok().filter(|_| within);
        at.and_then(|at| self.modules.get(at))
            .copied()
            .unwrap_or(false)
    }
}

impl fmt::Display for Picture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for y in (-MARGIN..self.width + MARGIN).step_by(2) {
            for x in -MARGIN..self.width + MARGIN {
                f.write_str(match (self.is_dark(x, y), self.is_dark(x, y + 1)) {
                    (false, false) => "\u{2588}",
                    (false, true) => "\u{2580}",
                    (true, false) => "\u{2584}",
                    (true, true) => " ",
                })?;
            }
            f.write_str("\n")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_becomes_a_square_and_a_long_one_none() {
        let text = Picture::of("https://microsoft.com/devicelogin")
            .unwrap()
            .to_string();
        let lines: Vec<Vec<char>> = text.lines().map(|line| line.chars().collect()).collect();
        // Version 3 has 29 modules, with the margin 33.
        assert!(
            lines.iter().all(|line| line.len() == 33) && lines.len() == 17,
            "{text}"
        );
        // The upper left finder, behind the margin: seven dark above five light ones.
        let corner: String = lines[1][2..9].iter().collect();
        assert_eq!(
            corner, " \u{2584}\u{2584}\u{2584}\u{2584}\u{2584} ",
            "{text}"
        );
        assert!(Picture::of(&"x".repeat(600)).is_none());
    }
}
