//! How long ago something was, as kubectl says it.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

/// The time from `then` to `now`: `5s`, `3m12s`, `4h`, `2d`. The future is `0s`: clocks differ.
pub(crate) fn since(then: &Time, now: &Time) -> String {
    let seconds = now.0.as_second().saturating_sub(then.0.as_second()).max(0);
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match (days, hours, minutes) {
        (0, 0, 0..2) => format!("{seconds}s"),
        (0, 0, 2..10) => {
            let rest = seconds % 60;
            if rest == 0 {
                format!("{minutes}m")
            } else {
                format!("{minutes}m{rest}s")
            }
        }
        (0, 0..3, _) => format!("{minutes}m"),
        (0..2, _, _) => format!("{hours}h"),
        (_, _, _) => format!("{days}d"),
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::jiff::Timestamp;

    use super::*;

    #[test]
    fn an_age_has_the_precision_that_a_person_wants() {
        let at = |second: i64| Time(Timestamp::from_second(1_800_000_000 + second).unwrap());
        let said = |seconds: i64| since(&at(0), &at(seconds));
        let all: Vec<String> = [0, 119, 120, 192, 600, 10_799, 10_800, 172_799, 172_800]
            .into_iter()
            .map(said)
            .collect();
        let expected = [
            "0s", "119s", "2m", "3m12s", "10m", "179m", "3h", "47h", "2d",
        ];
        assert_eq!(all, expected);
        assert_eq!(since(&at(5), &at(0)), "0s");
    }
}
