//! Durations, as Go prints them.

use std::time::Duration;

use crate::model::time;

/// Reads a duration as Go prints it (`8.5877181s`, `1m30s`, `500ms`, `12µs`); `None` if negative or malformed.
/// Another may have written it: no more than [`time::LONGEST`] comes out.
pub fn go_duration(text: &str) -> Option<Duration> {
    const UNITS: [(&str, f64); 7] = [
        ("ns", 1e-9),
        ("µs", 1e-6),
        ("us", 1e-6),
        ("ms", 1e-3),
        ("h", 3600.0),
        ("m", 60.0),
        ("s", 1.0),
    ];
    let mut rest = text;
    let mut seconds = 0.0;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..end].parse().ok()?;
        let (unit, factor) = UNITS
            .iter()
            .find(|(unit, _)| rest[end..].starts_with(unit))?;
        seconds += number * factor;
        rest = &rest[end + unit.len()..];
    }
    Some(time::fraction(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn go_durations_are_read() {
        let check = |text: &str, expected: Option<f64>| {
            assert_eq!(
                go_duration(text).map(|d| d.as_secs_f64()),
                expected,
                "{text}"
            );
        };
        check("8.5877181s", Some(8.587_718_1));
        check("1m30s", Some(90.0));
        check("500ms", Some(0.5));
        check("2h45m", Some(9900.0));
        let longest = time::LONGEST.as_secs_f64();
        check("10000000000000000000s", Some(longest));
        check(&format!("{}h", "9".repeat(400)), Some(longest));
        check("-1ns", None);
        check("", None);
        check("5", None);
        check("5 s", None);
    }
}
