//! Standard output: lines that stay, and below them on a terminal a block that is repainted in place.
//!
//! Elsewhere than on a terminal the block is left out and what changed in it is written as lines. Never hides the
//! cursor or takes the terminal into another mode: an interrupt leaves nothing to repair.

use std::env;
use std::io::{self, IsTerminal, Stdout, Write};

/// How a piece of text looks on a terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Style {
    /// As it is.
    Plain,
    /// Headings.
    Bold,
    /// What matters less.
    Dim,
    /// What is well.
    Good,
    /// What is not.
    Bad,
}

/// Standard output.
#[derive(Debug)]
pub(super) struct Screen {
    out: Stdout,
    terminal: bool,
    colour: bool,
    /// The block's lines as they are on the terminal.
    block: Vec<String>,
    /// What was last said of the block elsewhere.
    facts: Vec<String>,
}

impl Screen {
    /// Standard output as it is.
    pub(super) fn new() -> Self {
        let out = io::stdout();
        let dumb = env::var_os("TERM").is_none_or(|term| term == "dumb");
        let terminal = out.is_terminal() && !dumb;
        Self {
            out,
            terminal,
            colour: terminal && env::var_os("NO_COLOR").is_none(),
            block: Vec::new(),
            facts: Vec::new(),
        }
    }

    /// Whether somebody watches.
    pub(super) fn is_terminal(&self) -> bool {
        self.terminal
    }

    /// `text` in a style, if this is a terminal with colours.
    pub(super) fn paint(&self, style: Style, text: &str) -> String {
        let code = match style {
            Style::Plain => return text.to_owned(),
            Style::Bold => 1,
            Style::Dim => 2,
            Style::Good => 32,
            Style::Bad => 31,
        };
        if self.colour {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }

    /// Writes a line that stays, above the block.
    pub(super) fn say(&mut self, line: &str) -> io::Result<()> {
        let mut text = self.erase();
        text.push_str(line);
        text.push('\n');
        text.extend(self.block.iter().flat_map(|line| [line, "\n"]));
        self.write(&text)
    }

    /// Shows `block`, or says which of `facts` are new. `when` tells how far the step is.
    pub(super) fn show(
        &mut self,
        block: Vec<String>,
        facts: Vec<String>,
        when: &str,
    ) -> io::Result<()> {
        if self.terminal {
            if block == self.block {
                return Ok(());
            }
            let mut text = self.erase();
            text.extend(block.iter().flat_map(|line| [line, "\n"]));
            self.block = block;
            return self.write(&text);
        }
        let new: String = facts
            .iter()
            .filter(|fact| !self.facts.contains(fact))
            .map(|fact| format!("   {when}  {fact}\n"))
            .collect();
        self.facts = facts;
        self.write(&new)
    }

    /// Takes the block away.
    pub(super) fn drop_block(&mut self) -> io::Result<()> {
        let text = self.erase();
        self.block.clear();
        self.write(&text)
    }

    /// What erases the block.
    fn erase(&self) -> String {
        match self.block.len() {
            0 => String::new(),
            lines => format!("\x1b[{lines}A\x1b[J"),
        }
    }

    fn write(&mut self, text: &str) -> io::Result<()> {
        self.out.write_all(text.as_bytes())?;
        self.out.flush()
    }
}
