//! Any sequence of what an operator may write, an API server may tell and an agent may go through: servers are never
//! lost on the way, and at the end there is what was written last.

use std::collections::{BTreeMap, BTreeSet};

use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::{Value, json};
use vipkeeper_vrrp::Time;

use super::super::assignment::{Assignment, Definitions};
use super::{main_of, named, node_config, restarted, served, servers, shard_of, told};

/// The shards of each set; of the first the router itself has the servers.
const LAYOUTS: [&[&str]; 5] = [
    &[],
    &["0", "1"],
    &["00", "01", "1"],
    &["0", "10", "11"],
    &["00", "01", "10", "11"],
];
/// The servers, and how their hashes begin.
const SERVERS: [(&str, &str); 8] = [
    ("a", "00"),
    ("b", "01"),
    ("c", "10"),
    ("d", "11"),
    ("e", "00"),
    ("f", "01"),
    ("g", "10"),
    ("h", "11"),
];

#[derive(Clone, Debug)]
enum Step {
    /// VirtualServers change: which there are from now on.
    Edit(u8),
    /// They become so many or so few that the shards are others.
    Lay(usize),
    /// Some writes of the operator arrive, in an order that this number makes, by events of their own or together.
    Arrive {
        count: usize,
        order: u64,
        together: bool,
    },
    /// Somebody writes nonsense into a shard.
    Damage(usize),
    /// Somebody deletes a shard, and the agent learns it by an event or a list.
    Lose { which: usize, by_list: bool },
    /// Somebody deletes the router's object.
    LoseMain,
    /// The agent lists.
    List,
    /// The agent starts again, and has no API server until it lists.
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => any::<u8>().prop_map(Step::Edit),
        3 => (0..LAYOUTS.len()).prop_map(Step::Lay),
        8 => (1..4_usize, any::<u64>(), any::<bool>())
            .prop_map(|(count, order, together)| Step::Arrive { count, order, together }),
        1 => any::<usize>().prop_map(Step::Damage),
        1 => (any::<usize>(), any::<bool>()).prop_map(|(which, by_list)| Step::Lose { which, by_list }),
        1 => Just(Step::LoseMain),
        2 => Just(Step::List),
        1 => Just(Step::Restart),
    ]
}

/// Servers and their generations.
type Content = BTreeMap<String, i64>;

/// What an object says.
#[derive(Clone, Debug, PartialEq)]
enum Said {
    /// The router's, with its set and its own servers.
    Main(usize, Content),
    Shard {
        set: usize,
        bits: String,
        content: Content,
    },
    Nonsense,
}

type Store = BTreeMap<String, Said>;

struct Run {
    assignment: Assignment,
    /// What the API server has.
    store: Store,
    /// What the agent was told of it; nothing between its start and its first list.
    told: Option<Store>,
    /// What the operator wants.
    content: Content,
    layout: usize,
    /// Servers that it did not want for a while, and that may be away for so long.
    lapsed: BTreeSet<String>,
    generation: i64,
    /// Whether a shard of another set has a name of its own.
    names_by_set: bool,
}

impl Run {
    fn new(names_by_set: bool) -> Self {
        let mut assignment = Assignment::new(None);
        assert!(assignment.identify("uid-cluster".to_owned()));
        let mut run = Self {
            assignment,
            store: Store::new(),
            told: None,
            content: Content::new(),
            layout: 0,
            lapsed: BTreeSet::new(),
            generation: 0,
            names_by_set,
        };
        run.list();
        run
    }

    fn step(&mut self, step: &Step) {
        match *step {
            Step::Edit(which) => self.edit(which),
            Step::Lay(layout) => {
                // A set is laid out when the one before is.
                while self.arrive(1, 0, false) {}
                self.layout = layout;
            }
            Step::Arrive {
                count,
                order,
                together,
            } => {
                self.arrive(count, order, together);
            }
            Step::Damage(which) => {
                if let Some(name) = self.some_shard(which) {
                    let before = served(&self.assignment);
                    self.write(&name, Some(Said::Nonsense));
                    self.settle();
                    assert_eq!(served(&self.assignment), before, "{name} is damaged");
                }
            }
            Step::Lose { which, by_list } => {
                if let Some(name) = self.some_shard(which) {
                    if by_list {
                        self.store.remove(&name);
                        self.list();
                    } else {
                        self.write(&name, None);
                        self.settle();
                    }
                }
            }
            Step::LoseMain => {
                self.write("web", None);
                self.settle();
            }
            Step::List => self.list(),
            Step::Restart => {
                let before = self.assignment.in_force();
                self.assignment = restarted(&self.assignment);
                self.told = None;
                assert_eq!(self.assignment.in_force().configs, before.configs);
            }
        }
    }

    fn edit(&mut self, which: u8) {
        self.generation += 1;
        let there = (0..).zip(SERVERS).filter(|(i, _)| which & (1 << i) != 0);
        let there: BTreeSet<&str> = there.map(|(_, (name, _))| name).collect();
        let gone = self.content.keys().filter(|n| !there.contains(n.as_str()));
        self.lapsed.extend(gone.cloned());
        self.content.retain(|name, _| there.contains(name.as_str()));
        for name in there {
            // Every other one is as it was.
            let generation = self.generation;
            let known = self.content.entry(name.to_owned()).or_insert(generation);
            if (generation + i64::from(name.as_bytes()[0])) % 2 == 0 {
                *known = generation;
            }
        }
    }

    /// What the operator wants there to be.
    fn wanted(&self) -> Store {
        let shards = LAYOUTS[self.layout];
        let own = match shards {
            [] => self.content.clone(),
            _ => Content::new(),
        };
        let mut wanted = Store::from([("web".to_owned(), Said::Main(self.layout, own))]);
        for bits in shards {
            let is_here = |name: &str| {
                let mut all = SERVERS.iter();
                all.any(|(server, hash)| *server == name && hash.starts_with(bits))
            };
            let mut content = self.content.clone();
            content.retain(|name, _| is_here(name));
            let name = match self.names_by_set {
                true => format!("web-{}-{bits}", self.layout),
                false => format!("web-{bits}"),
            };
            let (set, bits) = (self.layout, (*bits).to_owned());
            wanted.insert(name, Said::Shard { set, bits, content });
        }
        wanted
    }

    /// Some of what the operator has to write is written and told; false if there is nothing.
    fn arrive(&mut self, count: usize, mut order: u64, together: bool) -> bool {
        let mut is_any = false;
        for _ in 0..count {
            let wanted = self.wanted();
            let names: BTreeSet<&String> = wanted.keys().chain(self.store.keys()).collect();
            let differ = |name: &&String| wanted.get(*name) != self.store.get(*name);
            let due: Vec<String> = names.into_iter().filter(differ).cloned().collect();
            let Some(count) = u64::try_from(due.len()).ok().filter(|count| *count > 0) else {
                break;
            };
            let name = &due[usize::try_from(order % count).unwrap()];
            order /= count;
            self.write(name, wanted.get(name).cloned());
            is_any = true;
            if !together {
                self.settle();
            }
        }
        self.settle();
        is_any
    }

    /// Is written or deleted, and told.
    fn write(&mut self, name: &str, said: Option<Said>) {
        let is_there = self.store.remove(name).is_some();
        if let Some(said) = &said {
            self.store.insert(name.to_owned(), said.clone());
        }
        let Some(known) = &mut self.told else {
            return;
        };
        *known = self.store.clone();
        match said {
            Some(said) => self.assignment.apply(told(object(name, &said))),
            None if is_there => self.assignment.deleted(name, Time::ZERO),
            None => {}
        }
    }

    fn some_shard(&self, which: usize) -> Option<String> {
        let mut shards: Vec<&String> = self.store.keys().collect();
        shards.retain(|name| *name != "web");
        let count = shards.len();
        (count > 0).then(|| shards[which % count].clone())
    }

    fn list(&mut self) {
        self.told = Some(self.store.clone());
        let all = self.store.iter().map(|(name, said)| object(name, said));
        let other = node_config("db", |_| {});
        let all = all.chain([other]).map(told).collect();
        self.assignment.list(all, Time::ZERO);
        self.settle();
    }

    /// Whether a server may go: the set that the router names is there as a whole.
    fn is_whole(&self) -> bool {
        let Some(told) = &self.told else {
            return false;
        };
        let Some(Said::Main(set, _)) = told.get("web") else {
            return true;
        };
        let is_there = |needed: &&str| {
            let mut said = told.values();
            said.any(|said| match said {
                Said::Shard { set: own, bits, .. } => own == set && bits == needed,
                Said::Main(..) | Said::Nonsense => false,
            })
        };
        LAYOUTS[*set].iter().all(is_there)
    }

    /// Takes in what was told, and looks whether what runs then is right.
    fn settle(&mut self) {
        let before: Content = served(&self.assignment).into_iter().collect();
        self.assignment.decide(Definitions::Present);
        self.assignment.settle();
        let runs = served(&self.assignment);
        assert!(runs.is_sorted(), "{runs:?}");
        let after: Content = runs.into_iter().collect();
        let desired = self.assignment.in_force();
        let mut routers = desired.configs.iter();
        assert!(routers.any(|config| config.router == "db"));
        let Some(told) = &self.told else {
            assert_eq!(after, before);
            return;
        };
        let Some(Said::Main(set, own)) = told.get("web") else {
            assert_eq!(after, Content::new(), "there is no router");
            return;
        };
        for name in before.keys().filter(|name| !after.contains_key(*name)) {
            assert!(self.is_whole(), "{name} went too early: {told:?}");
            let is_wanted = self.content.contains_key(name) && !self.lapsed.contains(name);
            assert!(!is_wanted, "{name} is still wanted: {told:?}");
        }
        if *told == self.wanted() {
            self.lapsed.clear();
        }
        if LAYOUTS[*set].is_empty() {
            assert_eq!(&after, own);
        }
        for said in told.values() {
            match said {
                Said::Shard {
                    set: named,
                    content,
                    ..
                } if named == set => {
                    for (name, generation) in content {
                        assert_eq!(after.get(name), Some(generation), "{name} of {said:?}");
                    }
                }
                Said::Shard { .. } | Said::Main(..) | Said::Nonsense => {}
            }
        }
    }

    /// Everything is written and told.
    fn finish(mut self) {
        if self.told.is_none() {
            self.list();
        }
        while self.arrive(1, 0, false) {}
        let runs: Content = served(&self.assignment).into_iter().collect();
        assert_eq!(runs, self.content);
        assert_eq!(self.assignment.in_force().findings, []);
        let reported = self.assignment.roster().into_iter();
        let reported: usize = reported.map(|assigned| assigned.servers.len()).sum();
        assert_eq!(reported, runs.len());
    }
}

fn object(name: &str, said: &Said) -> Value {
    fn all(content: &Content) -> impl Iterator<Item = (&str, i64)> {
        content.iter().map(|(name, of)| (name.as_str(), *of))
    }
    match said {
        Said::Main(0, own) => node_config("web", |spec| {
            spec["config"]["servers"] = servers(all(own));
        }),
        Said::Main(set, _) => main_of(*set as u64, LAYOUTS[*set]),
        Said::Shard { set, bits, content } => shard_of(name, *set as u64, bits, all(content)),
        Said::Nonsense => named(
            name,
            &json!({"nodeName": "a", "router": "web", "shard": {"set": 7}}),
        ),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn no_server_is_lost_on_any_way_and_at_the_end_there_is_what_was_written(
        names_by_set: bool,
        steps in vec(step(), 1..60),
    ) {
        let mut run = Run::new(names_by_set);
        for step in &steps {
            run.step(step);
        }
        run.finish();
    }
}
