//! Who holds what at one moment, as a table and as plain sentences.

use std::net::IpAddr;
use std::time::Duration;

use super::screen::{Screen, Style};

/// Shorter silences are the time of an answer, not a gap.
const SILENCE: Duration = Duration::from_millis(20);

/// Everything that the table shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct View {
    /// The nodes' names.
    pub(super) nodes: [String; 2],
    /// One row for each virtual address.
    pub(super) rows: Vec<Row>,
}

/// One virtual address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Row {
    /// The address.
    pub(super) address: IpAddr,
    /// Its VRID.
    pub(super) vrid: u8,
    /// What each node is for it.
    pub(super) cells: [Cell; 2],
    /// How long the client has been without an answer.
    pub(super) silent: Option<Duration>,
}

/// What a node is for an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Cell {
    /// Without an agent, and why.
    Off(&'static str),
    /// Its agent does not answer yet.
    Starting,
    /// In the election.
    Takes {
        /// The state that the agent reports.
        state: String,
        /// Its priority.
        priority: u8,
        /// Whether the kernel has the address.
        holds: bool,
    },
}

impl Cell {
    /// Active, and the kernel has the address.
    pub(super) fn is_active(&self) -> bool {
        match self {
            Self::Takes { state, holds, .. } => state == "Active" && *holds,
            Self::Off(_) | Self::Starting => false,
        }
    }

    /// Backup, without the address.
    pub(super) fn is_backup(&self) -> bool {
        match self {
            Self::Takes { state, holds, .. } => state == "Backup" && !*holds,
            Self::Off(_) | Self::Starting => false,
        }
    }

    fn style(&self) -> Style {
        match self {
            Self::Off(_) => Style::Bad,
            Self::Starting => Style::Dim,
            Self::Takes { .. } if self.is_active() => Style::Good,
            Self::Takes { .. } => Style::Plain,
        }
    }

    /// For the table.
    fn text(&self) -> String {
        match self {
            Self::Off(why) => format!("✗ {why}"),
            Self::Starting => "… starting".to_owned(),
            Self::Takes {
                state,
                priority,
                holds,
            } => {
                let mark = if *holds { '●' } else { '○' };
                format!("{mark} {state:<7} {priority:>3}")
            }
        }
    }

    /// For a sentence.
    fn word(&self) -> &str {
        match self {
            Self::Off(why) => why,
            Self::Starting => "starting",
            Self::Takes { state, .. } => state,
        }
    }
}

impl View {
    /// The table's lines.
    pub(super) fn lines(&self, screen: &Screen) -> Vec<String> {
        let [one, other] = &self.nodes;
        let head = format!(
            "   {:<15} {:>4}   {one:<16} {other:<16} client",
            "address", "VRID"
        );
        let mut lines = vec![String::new(), screen.paint(Style::Dim, &head)];
        lines.extend(self.rows.iter().map(|row| row.line(screen)));
        lines
    }

    /// What there is to know, one sentence an address.
    pub(super) fn facts(&self) -> Vec<String> {
        let [one, other] = &self.nodes;
        let fact = |row: &Row| {
            let [at_one, at_other] = &row.cells;
            let client = if row.is_silent() {
                "no answer"
            } else {
                "answered"
            };
            format!(
                "{}: {one} {}, {other} {}; client: {client}",
                row.address,
                at_one.word(),
                at_other.word()
            )
        };
        self.rows.iter().map(fact).collect()
    }
}

impl Row {
    fn is_silent(&self) -> bool {
        self.silent.is_none_or(|silent| silent >= SILENCE)
    }

    fn line(&self, screen: &Screen) -> String {
        let cell = |cell: &Cell| screen.paint(cell.style(), &format!("{:<16}", cell.text()));
        let [one, other] = self.cells.each_ref().map(cell);
        let client = match self.silent {
            None => screen.paint(Style::Dim, "no answer yet"),
            Some(silent) if self.is_silent() => {
                let silent = format!("no answer for {:.1} s", silent.as_secs_f64());
                screen.paint(Style::Bad, &silent)
            }
            Some(_) => screen.paint(Style::Good, "answered"),
        };
        let (address, vrid) = (self.address.to_string(), self.vrid);
        format!("   {address:<15} {vrid:>4}   {one} {other} {client}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cell(state: &str, holds: bool) -> Cell {
        Cell::Takes {
            state: state.to_owned(),
            priority: 100,
            holds,
        }
    }

    #[test]
    fn a_holder_is_active_with_the_address() {
        assert!(cell("Active", true).is_active());
        assert!(!cell("Active", false).is_active(), "not installed yet");
        assert!(cell("Backup", false).is_backup());
        assert!(!cell("Backup", true).is_backup(), "not removed yet");
        assert!(!Cell::Off("dead").is_backup());
    }

    #[test]
    fn sentences_name_both_nodes_and_the_client() {
        let view = View {
            nodes: ["node-a".to_owned(), "node-b".to_owned()],
            rows: vec![Row {
                address: IpAddr::from([192, 0, 2, 101]),
                vrid: 51,
                cells: [Cell::Off("dead"), cell("Active", true)],
                silent: Some(Duration::from_millis(300)),
            }],
        };
        assert_eq!(
            view.facts(),
            ["192.0.2.101: node-a dead, node-b Active; client: no answer"]
        );
    }
}
