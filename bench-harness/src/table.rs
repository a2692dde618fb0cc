//! A table, printed as its rows come.

use std::fmt::Display;

/// Columns under their heads: the first flush left, the numbers flush right.
pub struct Table<const N: usize> {
    widths: [usize; N],
}

impl<const N: usize> Table<N> {
    /// Prints the heads. `first` is the width of the first column; the others are as wide as theirs.
    pub fn new(first: usize, heads: [&str; N]) -> Self {
        let mut widths = heads.map(|head| head.len().max(7));
        widths[0] = first;
        let table = Self { widths };
        table.row(heads);
        table
    }

    /// Prints a row.
    #[allow(clippy::print_stdout)]
    pub fn row(&self, cells: [impl Display; N]) {
        let mut line = String::new();
        for (index, (cell, width)) in cells.iter().zip(self.widths).enumerate() {
            line += &match index {
                0 => format!("{cell:<width$}"),
                _ => format!("  {cell:>width$}"),
            };
        }
        println!("{line}");
    }
}
