//! Aligned columns.

/// Between two columns.
const GAP: usize = 3;

/// A table for people.
#[derive(Debug, Default)]
pub(crate) struct Table(Vec<Vec<String>>);

impl Table {
    /// With these column heads.
    pub(crate) fn new(heads: &[&str]) -> Self {
        Self(vec![heads.iter().map(|h| (*h).to_owned()).collect()])
    }

    /// One more row; an empty cell is shown as `-`.
    pub(crate) fn row(&mut self, cells: Vec<String>) {
        self.0.push(cells);
    }

    /// Its lines. Nothing follows the last cell of a row.
    pub(crate) fn lines(&self) -> String {
        let columns = self.0.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| {
            let cells = self.0.iter().filter_map(|row| row.get(column));
            cells.map(|cell| shown(cell).chars().count()).max()
        };
        let widths: Vec<usize> = (0..columns).map(|c| width(c).unwrap_or(0)).collect();
        let mut text = String::new();
        for row in &self.0 {
            let mut line = String::new();
            for (cell, width) in row.iter().zip(&widths) {
                let cell = shown(cell);
                let fill = width
                    .saturating_sub(cell.chars().count())
                    .saturating_add(GAP);
                line.push_str(cell);
                line.push_str(&" ".repeat(fill));
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }
}

fn shown(cell: &str) -> &str {
    if cell.is_empty() { "-" } else { cell }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let mut table = Table::new(&["NAME", "VRID"]);
        table.row(vec!["façade".to_owned(), "5".to_owned()]);
        table.row(vec![String::new(), String::new()]);
        assert_eq!(table.lines(), "NAME     VRID\nfaçade   5\n-        -\n");
    }
}
