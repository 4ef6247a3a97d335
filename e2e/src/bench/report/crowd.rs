//! The tables of many routers: cost, punctuality, start, edit.

use std::fmt::{self, Write};
use std::time::Duration;

use super::super::contender::{Both, Contender};
use super::super::crowd::{Cost, Edit, Storm};
use super::super::figures::{Sorted, millis};
use super::super::usage::Usage;
use super::{Report, cells};

/// DESIGN §12: so much of keepalived's processor time at most, in either role.
const SHARE_OF_KEEPALIVED: f64 = 0.5;
/// DESIGN §12: resident memory at most, guardian included.
const MEBIBYTES: f64 = 16.0;

impl Report<'_> {
    /// Everything about many routers.
    pub(super) fn crowd(&self, text: &mut String) -> fmt::Result {
        self.cost(text)?;
        self.punctuality(text)?;
        self.starts(text)?;
        self.edits(text)
    }

    fn cost(&self, text: &mut String) -> fmt::Result {
        writeln!(
            text,
            "## What {} routers cost\n\n\
             Each at 100.0 ms with one address, for {} s. As Active each contender is alone in a lab; as Backup both hear the\n\
             same keepalived. Both are measured at the same time. Processor time is that of all processes, in per cent of one\n\
             processor; resident memory is the sum over all processes, pages that they share counted in each.\n\n\
             | | processor, Active | processor, Backup | memory, Active | memory, Backup |\n|---|--:|--:|--:|--:|",
            self.options.crowd, self.options.seconds
        )?;
        for contender in Contender::ALL {
            let Cost { active, backup } = self.measured.of(contender).cost;
            let percent = |usage: Usage| format!("{:.2} %", usage.share() * 100.0);
            let memory = |usage: Usage| format!("{:.1} MiB", usage.mebibytes());
            write!(text, "| {contender} ")?;
            let values = [
                percent(active),
                percent(backup),
                memory(active),
                memory(backup),
            ];
            cells(text, values.map(Some))?;
        }
        let both = Both {
            vipkeeper: self.measured.vipkeeper.cost,
            keepalived: self.measured.keepalived.cost,
        };
        writeln!(text, "\n{}\n", goals(&both))
    }

    fn punctuality(&self, text: &mut String) -> fmt::Result {
        writeln!(
            text,
            "## An Active on a busy machine\n\n\
             How much the times between two of its advertisements differ from the interval, captured for {} s while the\n\
             machine is left alone and as long while four threads for each processor compute without a pause.\n\n\
             | | median | p99 | maximum |\n|---|--:|--:|--:|",
            self.options.seconds
        )?;
        for busy in [false, true] {
            for contender in Contender::ALL {
                let jitter = &self.measured.of(contender).jitter;
                let (load, samples) = if busy {
                    ("busy", &jitter.busy)
                } else {
                    ("left alone", &jitter.idle)
                };
                let samples = Sorted::new(samples.iter().copied());
                write!(text, "| {contender}, {load} ")?;
                let values = [samples.median(), samples.percentile(99), samples.maximum()];
                cells(text, values.map(|value| value.map(hundredths)))?;
            }
        }
        text.push('\n');
        Ok(())
    }

    fn starts(&self, text: &mut String) -> fmt::Result {
        writeln!(
            text,
            "## Two nodes with {} routers start at once\n\n\
             Virtual routers that both nodes advertised, and the longest time for which one was: from the second node's first\n\
             advertisement of it to the last of the node that gave way. Settled when one node holds every address and the other\n\
             none. The worst of {} starts each.\n\n\
             | | advertised by both | for at most | settled after |\n|---|--:|--:|--:|",
            self.options.crowd, self.options.repeats
        )?;
        for contender in Contender::ALL {
            let storms = &self.measured.of(contender).storms;
            let contested = storms.iter().map(|storm| storm.contested).max();
            let worst = |of: fn(&Storm) -> Duration| storms.iter().map(of).max().map(millis);
            write!(text, "| {contender} ")?;
            let values = [
                contested.map(|count| count.to_string()),
                worst(|storm| storm.longest),
                worst(|storm| storm.settled),
            ];
            cells(text, values)?;
        }
        text.push('\n');
        Ok(())
    }

    fn edits(&self, text: &mut String) -> fmt::Result {
        writeln!(
            text,
            "## A router is added to {}\n\n\
             Both nodes get a configuration with one router more (keepalived by SIGHUP). The longest time between two\n\
             advertisements of a router that the edit does not name, and how soon the new one advertises. The worst of {} edits\n\
             each.\n\n\
             | | longest time between two advertisements | the new router's first |\n|---|--:|--:|",
            self.options.crowd, self.options.repeats
        )?;
        for contender in Contender::ALL {
            let edits = &self.measured.of(contender).edits;
            let worst = |of: fn(&Edit) -> Duration| edits.iter().map(of).max().map(millis);
            write!(text, "| {contender} ")?;
            let values = [
                worst(|edit| edit.longest_gap),
                worst(|edit| edit.took_effect),
            ];
            cells(text, values)?;
        }
        text.push('\n');
        Ok(())
    }
}

/// Milliseconds, two decimals.
fn hundredths(span: Duration) -> String {
    format!("{:.2} ms", span.as_secs_f64() * 1e3)
}

fn goals(cost: &Both<Cost>) -> String {
    let word = |met| if met { "met" } else { "MISSED" };
    let part = |of: fn(&Cost) -> Usage| {
        let (ours, theirs) = (of(&cost.vipkeeper).share(), of(&cost.keepalived).share());
        let part = ours / theirs.max(f64::MIN_POSITIVE);
        format!("{} ({part:.2})", word(part <= SHARE_OF_KEEPALIVED))
    };
    let Cost { active, backup } = cost.vipkeeper;
    let memory = active.mebibytes().max(backup.mebibytes());
    format!(
        "Goals: at most half of keepalived's processor time as Active: {}; as Backup: {}; at most {MEBIBYTES:.0} MiB resident: \
         {} ({memory:.1} MiB).",
        part(|cost| cost.active),
        part(|cost| cost.backup),
        word(memory <= MEBIBYTES),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usage(millis: u64, resident: u64) -> Usage {
        Usage {
            processor: Duration::from_millis(millis),
            during: Duration::from_secs(10),
            resident,
        }
    }

    #[test]
    fn cost_is_judged_against_half_of_keepalived_and_the_bound() {
        let cost = Both {
            vipkeeper: Cost {
                active: usage(400, 17_000),
                backup: usage(100, 12_000),
            },
            keepalived: Cost {
                active: usage(1_000, 4_000),
                backup: usage(150, 4_000),
            },
        };
        let text = goals(&cost);
        assert!(text.contains("as Active: met (0.40)"), "{text}");
        assert!(text.contains("as Backup: MISSED (0.67)"), "{text}");
        assert!(
            text.contains("16 MiB resident: MISSED (16.6 MiB)"),
            "{text}"
        );
    }
}
