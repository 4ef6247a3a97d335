//! A record of an election: what it was, what it was told and what it did, line by line, and its repetition.
//!
//! [`Line`] is the format, one JSON object a line wherever records are written. [`Replay`] tells an election the
//! recorded inputs and compares its outputs with the recorded ones. Neither reads nor writes anything.

use serde::{Deserialize, Serialize};

use crate::election::Election;
use crate::input::Input;
use crate::output::Output;
use crate::time::Time;

/// One line of a record.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Line {
    /// The election as it is now. The first line, and again after a gap.
    Begin {
        /// The program that wrote it, for people: another version may decide otherwise.
        version: String,
        /// Frozen between two wake-ups.
        election: Box<Election>,
    },
    /// It is told something.
    In {
        /// When.
        now: Time,
        /// What.
        input: Input,
    },
    /// It wants something done. All outputs of a wake-up follow all inputs of it.
    Out(Output),
    /// Lines are missing here: whoever wrote them down was too slow. `Begin` comes next.
    Gap {
        /// How many.
        lost: u64,
    },
    /// The record ends between two wake-ups, as it was asked to. One that was cut off does not say so.
    End {},
}

/// An election that is told a record.
#[derive(Debug, Default)]
pub struct Replay {
    election: Option<Box<Election>>,
    /// Outputs of this wake-up were compared: the next input begins another.
    answering: bool,
    inputs: u64,
    outputs: u64,
    gaps: u64,
}

/// Where a replay and its record part.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Divergence {
    /// A line that tells an election something before there is one.
    #[error("a record begins with the election as it was")]
    Headless,
    /// The election did something else.
    #[error("recorded was {recorded:?}, but the election did {replayed:?}")]
    Output {
        /// What the record says.
        recorded: Box<Output>,
        /// What happened instead.
        replayed: Option<Box<Output>>,
    },
    /// The election did more.
    #[error("nothing more was recorded, but the election did {0:?}")]
    Surplus(Box<Output>),
}

impl Replay {
    /// A replay that was told nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next line.
    ///
    /// # Errors
    /// If the election does not do what the record says. The replay is of no use afterwards.
    pub fn take(&mut self, line: Line) -> Result<(), Divergence> {
        match line {
            Line::Begin {
                version: _,
                election,
            } => {
                self.expect_nothing()?;
                self.election = Some(election);
            }
            Line::In { now, input } => {
                if self.answering {
                    self.expect_nothing()?;
                }
                let election = self.election.as_mut().ok_or(Divergence::Headless)?;
                election.handle(now, input);
                self.answering = false;
                self.inputs += 1;
            }
            Line::Out(recorded) => {
                let election = self.election.as_mut().ok_or(Divergence::Headless)?;
                let replayed = election.poll_output();
                if replayed.as_ref() != Some(&recorded) {
                    return Err(Divergence::Output {
                        recorded: Box::new(recorded),
                        replayed: replayed.map(Box::new),
                    });
                }
                self.answering = true;
                self.outputs += 1;
            }
            Line::Gap { lost: _ } => {
                self.election = None;
                self.gaps += 1;
            }
            Line::End {} => self.expect_nothing()?,
        }
        Ok(())
    }

    fn expect_nothing(&mut self) -> Result<(), Divergence> {
        match self.election.as_mut().and_then(|e| e.poll_output()) {
            Some(output) => Err(Divergence::Surplus(Box::new(output))),
            None => Ok(()),
        }
    }

    /// How many inputs were told so far.
    #[must_use]
    pub const fn inputs(&self) -> u64 {
        self.inputs
    }

    /// How many outputs were the same.
    #[must_use]
    pub const fn outputs(&self) -> u64 {
        self.outputs
    }

    /// How many gaps were passed over.
    #[must_use]
    pub const fn gaps(&self) -> u64 {
        self.gaps
    }
}
