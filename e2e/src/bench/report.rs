//! The tables, as Markdown: every figure with what it was measured with and the command that did it.

mod crowd;

use std::fmt::{self, Write};
use std::time::Duration;

use super::contender::{Both, Contender};
use super::figures::{Excess, Sorted, millis};
use super::pair::{Failover, Stop};
use super::surroundings::Surroundings;
use super::{Measured, Options, Sources};
use crate::manifest::Router;

/// The priority of the node that takes over.
const BACKUP: u8 = 100;

/// Everything that a report is made of.
pub(super) struct Report<'a> {
    pub(super) options: &'a Options,
    pub(super) surroundings: &'a Surroundings,
    /// The load average at the end.
    pub(super) load_after: String,
    pub(super) router: &'a Router,
    pub(super) configurations: Both<String>,
    pub(super) measured: &'a Both<Measured>,
    /// Or why that was not measured.
    pub(super) sources: &'a Result<Sources, String>,
}

impl Report<'_> {
    /// The page.
    pub(super) fn markdown(&self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        self.head(&mut text)?;
        self.deaths(&mut text)?;
        self.group_deaths(&mut text)?;
        self.stops(&mut text)?;
        self.crowd(&mut text)?;
        self.sources(&mut text)?;
        self.configurations(&mut text)?;
        Ok(text)
    }

    fn head(&self, text: &mut String) -> fmt::Result {
        let around = self.surroundings;
        writeln!(
            text,
            "# Benchmarks\n\n\
             One run of the command below wrote this page. Both contenders ran at the same time, each as a pair of nodes\n\
             of its own in network namespaces, and took turns, so that noise hit both alike; every few turns both were\n\
             started anew, in changing order.\n\n\
             ```\n{}\n```\n\n\
             | | |\n|---|---|\n\
             | vipkeeper | {} |\n| keepalived | {} |\n| kernel | {} |\n| processor | {}, {} cores |\n\
             | load average before, after | {}, {} |\n\n\
             On a machine that makes or removes links at the same time, as other tests do, an address waits for the kernel's\n\
             one lock of interfaces; that lengthens the tails of both.\n",
            command(self.options),
            around.vipkeeper,
            around.keepalived,
            around.kernel,
            around.processor,
            around.cores,
            around.load,
            self.load_after,
        )
    }

    fn deaths(&self, text: &mut String) -> fmt::Result {
        let bound = self.bound();
        writeln!(
            text,
            "## A node dies\n\n\
             Every process of the Active's daemon is killed and its link goes down, in one step, at a random moment of the\n\
             advertisement interval. Counted on captured frames from the old Active's last advertisement, minus\n\
             3 × {} + Skew_Time = {}: what an implementation adds to what the protocol asks for.\n\
             vipkeeper announces an address only after the kernel confirmed it.\n\n\
             | {} deaths each | minimum | median | p99 | maximum |\n|---|--:|--:|--:|--:|",
            millis(self.router.interval),
            millis(bound),
            self.options.deaths,
        )?;
        for (what, of) in moments() {
            for contender in Contender::ALL {
                let measured = self.measured.of(contender);
                let samples = excesses(&measured.deaths, bound, of);
                row(text, &format!("{contender}, {what}"), &samples)?;
            }
        }
        let (ours, theirs) = (&self.measured.vipkeeper, &self.measured.keepalived);
        writeln!(
            text,
            "\nRepeated because a priority 0 was captured: vipkeeper {}, keepalived {}.\n",
            ours.void, theirs.void
        )?;
        let announced = |measured: &Measured| excesses(&measured.deaths, bound, |f| f.announced);
        text.push_str(&goals(&announced(ours), &announced(theirs)));
        Ok(())
    }

    fn group_deaths(&self, text: &mut String) -> fmt::Result {
        let bound = self.bound();
        writeln!(
            text,
            "## A node with {} routers dies\n\n\
             As above, each router with an address of its own; first gratuitous ARP of each address, and the last of the\n\
             {0} addresses to be announced.\n\n\
             | {} deaths each | minimum | median | p99 | maximum |\n|---|--:|--:|--:|--:|",
            self.options.routers, self.options.group_deaths,
        )?;
        for contender in Contender::ALL {
            let measured = self.measured.of(contender);
            let failovers = measured.group_deaths.iter().flatten();
            let every = excesses(failovers, bound, |f| f.announced);
            row(text, &format!("{contender}, every address"), &every)?;
        }
        for contender in Contender::ALL {
            let measured = self.measured.of(contender);
            let deaths = measured.group_deaths.iter();
            let last = deaths.filter_map(|death| death.iter().max_by_key(|f| f.announced));
            let last = excesses(last, bound, |f| f.announced);
            row(text, &format!("{contender}, last address"), &last)?;
        }
        text.push('\n');
        Ok(())
    }

    fn stops(&self, text: &mut String) -> fmt::Result {
        writeln!(
            text,
            "## A daemon is stopped\n\n\
             SIGTERM to the Active: it advertises priority 0, and the Backup waits for Skew_Time = {} alone. From the last\n\
             priority 0 to the new Active's first gratuitous ARP, and what a client saw that probed every millisecond.\n\n\
             | {} stops each | minimum | median | maximum |\n|---|--:|--:|--:|",
            millis(self.router.skew_time(BACKUP)),
            self.options.stops,
        )?;
        let columns: [(&str, Span<Stop>); 2] = [
            ("priority 0 to first gratuitous ARP", |stop| stop.announced),
            ("client's gap", |stop| stop.gap),
        ];
        for (what, of) in columns {
            for contender in Contender::ALL {
                let measured = self.measured.of(contender);
                let samples = Sorted::new(measured.stops.iter().map(of));
                write!(text, "| {contender}, {what} ")?;
                let spans = [samples.minimum(), samples.median(), samples.maximum()];
                cells(text, spans.map(|span| span.map(millis)))?;
            }
        }
        text.push('\n');
        Ok(())
    }

    fn sources(&self, text: &mut String) -> fmt::Result {
        let sources = match self.sources {
            Ok(sources) => sources,
            Err(missing) => {
                return writeln!(
                    text,
                    "## A node dies in a cluster\n\nNot measured: {missing}\n"
                );
            }
        };
        let bound = self.bound();
        let of = |failovers| excesses(failovers, bound, |f: &Failover| f.announced);
        let (manifests, cluster) = (of(&sources.manifests), of(&sources.cluster));
        writeln!(
            text,
            "## A node dies in a cluster\n\n\
             Two pairs of vipkeeper's agents with the router of above, in turns: one has it from manifests, the other from the\n\
             API server of a real control plane, with the operator and the agents as the chart runs them, on the same\n\
             machine all the time. First gratuitous ARP, counted as above.\n\n\
             | {} deaths each | minimum | median | p99 | maximum |\n|---|--:|--:|--:|--:|",
            self.options.cluster_deaths,
        )?;
        row(text, "manifests", &manifests)?;
        row(text, "cluster", &cluster)?;
        text.push('\n');
        if let (Some(ours), Some(theirs), Some(p99)) =
            (cluster.median(), manifests.median(), cluster.percentile(99))
        {
            let apart = if ours > theirs {
                ours - theirs
            } else {
                theirs - ours
            };
            writeln!(
                text,
                "Goals: medians within 1 ms: {} ({apart}); p99 at most 5 ms: {} ({p99}).\n",
                verdict(apart <= Excess::millis(1)),
                verdict(p99 <= Excess::millis(5)),
            )?;
        }
        Ok(())
    }

    fn configurations(&self, text: &mut String) -> fmt::Result {
        text.push_str("## Configurations\n\nThe advertisements of both were compared before the run: equal bytes.\n");
        for contender in Contender::ALL {
            let configuration = self.configurations.of(contender);
            write!(text, "\n{contender}, node a:\n\n```\n{configuration}```\n")?;
        }
        Ok(())
    }

    /// Active_Down_Interval of the node that takes over.
    fn bound(&self) -> Duration {
        self.router.active_down_interval(BACKUP)
    }
}

/// What is shown of a sample.
type Span<T> = fn(&T) -> Duration;

fn moments() -> [(&'static str, Span<Failover>); 2] {
    [
        ("first gratuitous ARP", |failover| failover.announced),
        ("first advertisement", |failover| failover.advertised),
    ]
}

fn excesses<'a>(
    failovers: impl IntoIterator<Item = &'a Failover>,
    bound: Duration,
    of: Span<Failover>,
) -> Sorted<Excess> {
    let failovers = failovers.into_iter();
    Sorted::new(failovers.map(|failover| Excess::over(of(failover), bound)))
}

/// A row of a table of deaths.
fn row(text: &mut String, what: &str, samples: &Sorted<Excess>) -> fmt::Result {
    write!(text, "| {what} ")?;
    let (least, most) = (samples.minimum(), samples.maximum());
    cells(
        text,
        [least, samples.median(), samples.percentile(99), most],
    )
}

/// The rest of a table's row.
fn cells<T: fmt::Display, const N: usize>(
    text: &mut String,
    values: [Option<T>; N],
) -> fmt::Result {
    for value in values {
        match value {
            Some(value) => write!(text, "| {value} ")?,
            None => text.push_str("| – "),
        }
    }
    text.push_str("|\n");
    Ok(())
}

/// DESIGN §12: median at most keepalived's + 1 ms, p99 at most 5 ms.
fn goals(ours: &Sorted<Excess>, theirs: &Sorted<Excess>) -> String {
    let (Some(median), Some(other), Some(p99)) =
        (ours.median(), theirs.median(), ours.percentile(99))
    else {
        return String::new();
    };
    let apart = median - other;
    format!(
        "Goals for the first gratuitous ARP: median at most keepalived's + 1 ms: {} ({apart}); p99 at most 5 ms: {} \
         ({p99}).\n\n",
        verdict(apart <= Excess::millis(1)),
        verdict(p99 <= Excess::millis(5)),
    )
}

const fn verdict(met: bool) -> &'static str {
    if met { "met" } else { "MISSED" }
}

/// The command line of this run.
fn command(options: &Options) -> String {
    let usual = Options::default();
    let mut arguments = String::new();
    let numbers = [
        ("deaths", options.deaths.into(), usual.deaths.into()),
        ("stops", options.stops.into(), usual.stops.into()),
        (
            "group-deaths",
            options.group_deaths.into(),
            usual.group_deaths.into(),
        ),
        ("routers", options.routers.into(), usual.routers.into()),
        ("crowd", options.crowd.into(), usual.crowd.into()),
        ("seconds", options.seconds.into(), usual.seconds.into()),
        ("repeats", options.repeats.into(), usual.repeats.into()),
        (
            "cluster-deaths",
            options.cluster_deaths.into(),
            usual.cluster_deaths.into(),
        ),
        ("seed", options.seed, usual.seed),
    ];
    for (name, value, default) in numbers {
        if value != default {
            arguments.push_str(&format!(" --{name} {value}"));
        }
    }
    if let Some(path) = &options.write {
        arguments.push_str(&format!(" --write {}", path.display()));
    }
    if arguments.is_empty() {
        return "make bench".to_owned();
    }
    format!("make bench ARGS=\"{}\"", arguments.trim_start())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn excesses_of(micros: &[u64]) -> Sorted<Excess> {
        let bound = Duration::from_millis(1);
        Sorted::new(
            micros
                .iter()
                .map(|m| Excess::over(Duration::from_micros(*m), bound)),
        )
    }

    #[test]
    fn goals_are_judged_against_keepalived_and_the_bound() {
        let met = goals(&excesses_of(&[1_900]), &excesses_of(&[1_000]));
        assert!(met.contains("+ 1 ms: met (+0.90 ms)"), "{met}");
        assert!(met.contains("5 ms: met (+0.90 ms)"), "{met}");
        let missed = goals(&excesses_of(&[6_100]), &excesses_of(&[5_000]));
        assert!(missed.contains("+ 1 ms: MISSED (+1.10 ms)"), "{missed}");
        assert!(missed.contains("5 ms: MISSED (+5.10 ms)"), "{missed}");
    }

    #[test]
    fn the_command_repeats_what_differs_from_the_default() {
        assert_eq!(command(&Options::default()), "make bench");
        let options = Options {
            deaths: 3,
            write: Some("docs/benchmarks.md".into()),
            ..Options::default()
        };
        assert_eq!(
            command(&options),
            "make bench ARGS=\"--deaths 3 --write docs/benchmarks.md\""
        );
    }

    #[test]
    fn a_page_has_a_row_for_each_contender_and_figure() {
        let bound = Duration::from_nanos(360_937_500);
        let failover = Failover {
            advertised: bound,
            announced: bound + Duration::from_micros(250),
        };
        let stop = Stop {
            announced: Duration::from_millis(61),
            gap: Duration::from_millis(62),
        };
        let measured = || Measured {
            deaths: vec![failover; 3],
            stops: vec![stop],
            group_deaths: vec![vec![failover; 2]],
            void: 4,
            ..Measured::default()
        };
        let surroundings = Surroundings {
            vipkeeper: "0.1.0".to_owned(),
            keepalived: "2.2.7".to_owned(),
            kernel: "Linux 6.18".to_owned(),
            processor: "Some CPU".to_owned(),
            cores: 2,
            load: "0.10".to_owned(),
        };
        let report = Report {
            options: &Options::default(),
            surroundings: &surroundings,
            load_after: "0.20".to_owned(),
            router: &super::super::routers(1)[0],
            configurations: Both {
                vipkeeper: "ours\n".to_owned(),
                keepalived: "theirs\n".to_owned(),
            },
            measured: &Both {
                vipkeeper: measured(),
                keepalived: measured(),
            },
            sources: &Ok(Sources {
                manifests: vec![failover; 2],
                cluster: vec![failover; 2],
            }),
        };
        let page = report.markdown().unwrap();
        for line in [
            "| load average before, after | 0.10, 0.20 |",
            "3 × 100.0 ms + Skew_Time = 360.9 ms: what an implementation adds to what the protocol asks for.",
            "| vipkeeper, first gratuitous ARP | +0.25 ms | +0.25 ms | +0.25 ms | +0.25 ms |",
            "| keepalived, first advertisement | +0.00 ms | +0.00 ms | +0.00 ms | +0.00 ms |",
            "Repeated because a priority 0 was captured: vipkeeper 4, keepalived 4.",
            "| keepalived, last address | +0.25 ms | +0.25 ms | +0.25 ms | +0.25 ms |",
            "| vipkeeper, client's gap | 62.0 ms | 62.0 ms | 62.0 ms |",
            "| cluster | +0.25 ms | +0.25 ms | +0.25 ms | +0.25 ms |",
            "Goals: medians within 1 ms: met (+0.00 ms); p99 at most 5 ms: met (+0.25 ms).",
        ] {
            assert!(page.lines().any(|l| l == line), "no {line} in\n{page}");
        }
    }
}
