//! Settings of the node that a virtual server wants and that are not so: which concern it, and the words for them. Pure.
//!
//! Each is told of the servers that want it, and of no other.

use std::collections::BTreeMap;

use vipkeeper_ipvs::ServiceKey;

use crate::services::settings::{self, Importance, Setting};
use crate::services::{Lack, Observed, Report};

/// What the services of a server lack, each setting once.
pub(super) fn of_server(report: &Report, observed: &Observed) -> Vec<Lack> {
    let Some(table) = &observed.table else {
        return Vec::new();
    };
    let mut all: BTreeMap<Setting, Lack> = BTreeMap::new();
    for key in report.services.keys() {
        for lack in settings::concerning(table, *key, &observed.lacks) {
            let known = all.entry(lack.setting).or_insert(lack);
            known.importance = known.importance.max(lack.importance);
        }
    }
    all.into_values().collect()
}

/// Whether another server lacks something now, or a server something else.
pub(super) fn are_news(before: &Observed, now: &Observed) -> bool {
    before.lacks != now.lacks
        || (!now.lacks.is_empty()
            && before.table != now.table
            && by_service(before) != by_service(now))
}

fn by_service(observed: &Observed) -> BTreeMap<ServiceKey, Vec<Lack>> {
    let tables = observed.table.iter();
    let services = tables.flat_map(|table| {
        let keys = table.services().keys();
        keys.map(move |key| (*key, settings::concerning(table, *key, &observed.lacks)))
    });
    services.filter(|(_, lacks)| !lacks.is_empty()).collect()
}

/// The commands: what it does not do without, then what it does better with.
pub(super) fn text(lacks: &[Lack]) -> String {
    let of = |importance| lacks.iter().filter(move |l| l.importance == importance);
    let mut parts = Vec::new();
    for (importance, word) in [
        (Importance::Needed, "needed"),
        (Importance::Advised, "better with"),
    ] {
        if of(importance).next().is_some() {
            let command = settings::command(of(importance));
            parts.push(format!("{word}: `{command}`"));
        }
    }
    for lack in lacks.iter().filter(|l| l.is.is_none()) {
        let setting = lack.setting;
        parts.push(format!("{setting} cannot be read: the kernel may lack it"));
    }
    parts.join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lack(setting: Setting, is: Option<u32>, importance: Importance) -> Lack {
        Lack {
            setting,
            is,
            wanted: 1,
            importance,
        }
    }

    #[test]
    fn what_is_needed_comes_before_what_is_advised_with_one_command_each() {
        let lacks = [
            lack(Setting::ExpireNodestConn, Some(0), Importance::Advised),
            lack(Setting::SloppyTcp, Some(0), Importance::Advised),
            lack(Setting::Ipv4Forwarding, Some(0), Importance::Needed),
        ];
        assert_eq!(
            text(&lacks),
            "needed: `sysctl -w net.ipv4.ip_forward=1`; better with: `sysctl -w net.ipv4.vs.expire_nodest_conn=1 \
             net.ipv4.vs.sloppy_tcp=1`"
        );
    }

    #[test]
    fn a_setting_that_the_kernel_does_not_have_is_said_to_be_so() {
        let lack = lack(Setting::Conntrack, None, Importance::Needed);
        assert_eq!(
            text(&[lack]),
            "needed: `sysctl -w net.ipv4.vs.conntrack=1`; net.ipv4.vs.conntrack cannot be read: the kernel may lack it"
        );
    }
}
