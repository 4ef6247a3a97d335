//! What stands below the table of `state`: everything that is not as it should be, a line each.

use std::fmt::Write as _;

use crate::metrics::router_reasons;
use crate::state::State;

/// The lines, the gravest first; nothing if all is well.
pub(super) fn notes(state: &State) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    write(state, &mut text).ok();
    text
}

fn write(state: &State, text: &mut String) -> std::fmt::Result {
    if !state.health.alive {
        writeln!(text, "error: the election does not tick")?;
    }
    if !state.ready {
        writeln!(text, "warning: no verified configuration is served yet")?;
    }
    for router in &state.routers {
        let (name, family) = (&router.name, router.family);
        for address in &router.refused {
            writeln!(
                text,
                "warning: {name} {family}: {address} could not be installed; the log says why"
            )?;
        }
        let counted = router_reasons(&router.counters);
        let counted = counted.into_iter().filter(|(_, count)| *count > 0);
        let counted: Vec<_> = counted.map(|(word, n)| format!("{word} {n}")).collect();
        if !counted.is_empty() {
            let counted = counted.join(", ");
            writeln!(
                text,
                "note: {name} {family}: advertisements refused or odd: {counted}"
            )?;
        }
    }
    for finding in &state.findings {
        let (severity, place) = (&finding.severity, &finding.place);
        writeln!(text, "{severity}: {place}: {}", finding.message)?;
    }
    for foreign in &state.foreign {
        writeln!(
            text,
            "note: {}: VRID {} {} is advertised by {}, and not configured here ({} ms ago)",
            foreign.interface,
            foreign.virtual_router_id,
            foreign.family,
            foreign.source,
            foreign.age_ms
        )?;
    }
    if let Some(reason) = &state.realtime.reason {
        writeln!(text, "note: not in real time: {reason}")?;
    }
    if state.routers.is_empty() {
        writeln!(text, "note: no router runs on this node")?;
    }
    Ok(())
}
