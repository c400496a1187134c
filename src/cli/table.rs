//! Tables for people: columns as wide as their widest cell, numbers to the right.

use std::io;

use super::output::{Colour, paint, wants_colours, write};

/// How a column stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Align {
    Left,
    Right,
}

/// A heading and rows of cells.
#[derive(Debug)]
pub(super) struct Table {
    columns: Vec<(&'static str, Align)>,
    rows: Vec<Vec<(String, Colour)>>,
}

impl Table {
    /// A table with these columns and no rows.
    pub(super) fn new(columns: &[(&'static str, Align)]) -> Table {
        Table { columns: columns.to_vec(), rows: Vec::new() }
    }

    /// Adds a row; it has as many cells as there are columns.
    pub(super) fn row(&mut self, cells: impl IntoIterator<Item = impl Into<String>>) {
        self.painted(cells.into_iter().map(|cell| (cell, Colour::Plain)));
    }

    /// Adds a row of cells in colours.
    pub(super) fn painted(&mut self, cells: impl IntoIterator<Item = (impl Into<String>, Colour)>) {
        let row: Vec<_> = cells.into_iter().map(|(cell, colour)| (one_line(cell.into()), colour)).collect();
        debug_assert_eq!(row.len(), self.columns.len(), "a row has a cell for each column");
        self.rows.push(row);
    }

    /// The table as text, with or without colours.
    fn render(&self, colours: bool) -> String {
        let width = |index: usize, (name, _): &(&str, Align)| {
            let cells = self.rows.iter().filter_map(|row| row.get(index)).map(|(cell, _)| cell.chars().count());
            cells.max().unwrap_or(0).max(name.chars().count())
        };
        let widths: Vec<usize> = self.columns.iter().enumerate().map(|(index, column)| width(index, column)).collect();
        let heading = self.columns.iter().map(|(name, _)| (name.to_uppercase(), Colour::Dim)).collect();
        let mut text = String::new();
        for row in std::iter::once(&heading).chain(&self.rows) {
            let mut line = String::new();
            for (index, ((cell, colour), (_, align))) in row.iter().zip(&self.columns).enumerate() {
                let pad = " ".repeat(widths[index] - cell.chars().count());
                let cell = paint(cell, *colour, colours);
                match align {
                    Align::Left => line += &format!("{cell}{pad}  "),
                    Align::Right => line += &format!("{pad}{cell}  "),
                }
            }
            text += line.trim_end();
            text.push('\n');
        }
        text
    }

    /// Prints it to standard output.
    ///
    /// # Errors
    /// As [`write`].
    pub(super) fn print(&self) -> anyhow::Result<()> {
        write(self.render(wants_colours(&io::stdout())))
    }
}

/// What comes from a server must neither break the table nor steer the terminal.
pub(super) fn one_line(cell: String) -> String {
    if cell.is_empty() {
        return "-".to_owned();
    }
    if cell.chars().any(char::is_control) {
        return cell.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
    }
    cell
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_lines_not_padded() {
        let mut table = Table::new(&[("name", Align::Left), ("count", Align::Right), ("note", Align::Left)]);
        table.row(["a", "1", "first"]);
        table.row(["länger", "1000", ""]);
        assert_eq!(table.render(false), "NAME    COUNT  NOTE\na           1  first\nlänger   1000  -\n");
    }

    #[test]
    fn colours_do_not_shift_columns() {
        let mut table = Table::new(&[("status", Align::Left), ("n", Align::Right)]);
        table.row(["failed", "1"]);
        assert_eq!(table.render(true), "\x1b[2mSTATUS\x1b[0m  \x1b[2mN\x1b[0m\nfailed  1\n");
    }

    #[test]
    fn a_cell_cannot_steer_the_terminal() {
        let mut table = Table::new(&[("x", Align::Left)]);
        table.row(["a\x1b[2J\nb"]);
        assert_eq!(table.render(false), "X\na\u{fffd}[2J\u{fffd}b\n");
    }
}
