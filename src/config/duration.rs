//! Durations as Kubernetes and Go write them: `30s`, `1m30s`, `500ms`, `1.5h`.

use std::fmt::Write as _;
use std::time::Duration;

use thiserror::Error;

use super::problem::quoted;

/// The units, longest first, with their length in nanoseconds.
const UNITS: [(&str, u128); 6] = [
    ("h", 3_600_000_000_000),
    ("m", 60_000_000_000),
    ("s", 1_000_000_000),
    ("ms", 1_000_000),
    ("us", 1_000),
    ("ns", 1),
];

/// A day in nanoseconds. Neither Go nor Kubernetes knows days: only the history's retention takes them.
const DAY: u128 = 86_400_000_000_000;

/// The longest duration that Go can hold: an `int64` of nanoseconds, some 292 years.
const MAX: u128 = i64::MAX as u128;

/// Why a text is not a duration.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub enum DurationError {
    /// No number where one has to be.
    #[error("is not a duration")]
    NoNumber,
    /// A number stands alone.
    #[error("has no unit")]
    NoUnit,
    /// The unit is not one of those.
    #[error("has the unknown unit {}", quoted(.0))]
    UnknownUnit(String),
    /// Beyond what Go can hold.
    #[error("is longer than 292 years")]
    TooLong,
}

/// Reads a duration as Go does, but for the sign.
pub fn parse(text: &str) -> Result<Duration, DurationError> {
    parse_with(text, &|unit| {
        UNITS
            .iter()
            .find(|(name, _)| *name == unit)
            .map(|(_, nanos)| *nanos)
    })
}

/// As [`parse`], and takes days (`30d`) too.
pub fn parse_with_days(text: &str) -> Result<Duration, DurationError> {
    parse_with(text, &|unit| match unit {
        "d" => Some(DAY),
        _ => UNITS
            .iter()
            .find(|(name, _)| *name == unit)
            .map(|(_, nanos)| *nanos),
    })
}

/// Reads one number with one unit of `s`, `m`, `h`, which is all that the operator takes.
pub fn parse_single(text: &str) -> Option<Duration> {
    let number = text.strip_suffix(['s', 'm', 'h'])?;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    (digits(whole) && digits(fraction))
        .then(|| parse(text).ok())
        .flatten()
}

/// Writes a duration so that [`parse`] gives it back: `1m30s`, `1.5s` as `1s500ms`.
pub fn format(duration: Duration) -> String {
    let mut rest = duration.as_nanos();
    if rest == 0 {
        return "0s".to_owned();
    }
    let mut text = String::new();
    for (unit, nanos) in UNITS {
        if rest >= nanos {
            let _ = write!(text, "{}{unit}", rest / nanos);
            rest %= nanos;
        }
    }
    text
}

/// Writes a duration as one number with one unit of `s`, `m`, `h`, the longest that divides it.
pub fn format_single(duration: Duration) -> String {
    let nanos = duration.as_nanos();
    let whole = UNITS[..3]
        .iter()
        .find(|(_, unit)| nanos.is_multiple_of(*unit));
    whole.map_or_else(
        || format!("{}s", duration.as_secs_f64()),
        |(name, unit)| format!("{}{name}", nanos / unit),
    )
}

fn parse_with(
    text: &str,
    unit_of: &impl Fn(&str) -> Option<u128>,
) -> Result<Duration, DurationError> {
    let mut rest = text;
    let mut total = 0_u128;
    loop {
        let (whole, after) = split_at_end_of(rest, |byte| byte.is_ascii_digit());
        let (fraction, after) = match after.strip_prefix('.') {
            Some(after) => split_at_end_of(after, |byte| byte.is_ascii_digit()),
            None => ("", after),
        };
        if whole.is_empty() && fraction.is_empty() {
            return Err(DurationError::NoNumber);
        }
        let (unit, after) = split_at_end_of(after, |byte| !byte.is_ascii_digit() && byte != b'.');
        if unit.is_empty() {
            return Err(DurationError::NoUnit);
        }
        // Go takes both signs for micro.
        let unit = if matches!(unit, "µs" | "μs") {
            "us"
        } else {
            unit
        };
        let nanos = unit_of(unit).ok_or_else(|| DurationError::UnknownUnit(unit.to_owned()))?;
        let part = nanos_of(whole, fraction, nanos).ok_or(DurationError::TooLong)?;
        total = total.saturating_add(part);
        if total > MAX {
            return Err(DurationError::TooLong);
        }
        if after.is_empty() {
            break;
        }
        rest = after;
    }
    // `total` is at most `MAX`, which fits.
    Ok(Duration::from_nanos(
        u64::try_from(total).unwrap_or(u64::MAX),
    ))
}

/// The nanoseconds of `whole.fraction` units; what is finer than a nanosecond is cut off.
fn nanos_of(whole: &str, fraction: &str, unit: u128) -> Option<u128> {
    let whole: u128 = if whole.is_empty() {
        0
    } else {
        whole.parse().ok()?
    };
    let mut nanos = whole.checked_mul(unit)?;
    let mut scale = unit;
    for digit in fraction.bytes() {
        // Digit by digit, so that a long fraction can't overflow; a unit of an hour or a day is no power of ten.
        nanos = nanos.checked_add(u128::from(digit - b'0') * scale / 10)?;
        scale /= 10;
    }
    Some(nanos)
}

fn split_at_end_of(text: &str, belongs: impl Fn(u8) -> bool) -> (&str, &str) {
    text.split_at(
        text.bytes()
            .position(|byte| !belongs(byte))
            .unwrap_or(text.len()),
    )
}
