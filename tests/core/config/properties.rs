//! Properties of any text, and of any duration.

use std::time::Duration;

use proptest::prelude::*;
use vso_prober::config::check::EXAMPLE;
use vso_prober::config::duration;

use super::{DESIGN, check};

/// Whatever is written, a load ends, and what it tells lies in the file and on one line.
fn holds(text: &str) {
    if let Err(problems) = check(text) {
        assert!(problems.len() > 0);
        let lines: Vec<&str> = text.split('\n').collect();
        for problem in &problems {
            let position = problem.position;
            assert!(
                (1..=lines.len()).contains(&position.line),
                "{position:?} in {text:?}"
            );
            let columns = lines[position.line - 1].chars().count() + 1;
            assert!(
                (1..=columns).contains(&position.column),
                "{position:?} in {text:?}"
            );
            assert!(
                !problem.message.contains(char::is_control),
                "{:?}",
                problem.message
            );
        }
        assert_eq!(problems.to_string().lines().count(), problems.len());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_damage_to_the_example_is_told(
        damages in prop::collection::vec(
            (
                any::<prop::sample::Index>(),
                0_usize..40,
                prop_oneof![
                    Just(String::new()),
                    "[ \\t\\r\\n:,'\"#&*!|>%@`{}\\[\\]?~-]{1,4}",
                    "[a-z0-9.]{1,8}",
                    "\\PC{1,4}",
                    any::<char>().prop_map(String::from),
                ],
            ),
            1..6,
        ),
    ) {
        let mut text: Vec<char> = EXAMPLE.chars().collect();
        for (place, removed, inserted) in damages {
            let start = place.index(text.len());
            let end = (start + removed).min(text.len());
            text.splice(start..end, inserted.chars());
        }
        holds(&text.into_iter().collect::<String>());
    }

    #[test]
    fn any_value_in_the_place_of_another_is_told(
        line in any::<prop::sample::Index>(),
        value in "[a-z0-9 .:/{}\\[\\]'\"~-]{0,12}|[0-9]{1,30}[a-zµ]{0,3}|\\PC{0,6}",
    ) {
        let mut lines: Vec<String> = DESIGN.lines().map(str::to_owned).collect();
        let line = line.index(lines.len());
        let key = lines[line].split(':').next().unwrap_or_default().to_owned();
        lines[line] = format!("{key}: {value}");
        holds(&lines.join("\n"));
    }

    #[test]
    fn any_text_is_told(text in "\\PC{0,60}|[ \\n\\r\\ta:{}\\[\\],&*'\"-]{0,60}") {
        holds(&text);
    }

    #[test]
    fn a_duration_survives(nanos in prop_oneof![0..=i64::MAX as u64, 0..100_000_000_000_u64]) {
        let period = Duration::from_nanos(nanos);
        prop_assert_eq!(duration::parse(&duration::format(period)), Ok(period));
    }

    #[test]
    fn a_duration_of_one_unit_survives(millis in 1..1_000_000_000_u64) {
        let period = Duration::from_millis(millis);
        let text = duration::format_single(period);
        prop_assert_eq!(duration::parse_single(&text), Some(period), "{}", text);
    }
}

#[test]
fn durations_are_read_as_go_reads_them() {
    let millis = |text: &str| duration::parse(text).map(|period| period.as_millis());
    assert_eq!(millis("30s"), Ok(30_000));
    assert_eq!(millis("1m30s"), Ok(90_000));
    assert_eq!(millis("500ms"), Ok(500));
    assert_eq!(millis("1.5h"), Ok(5_400_000));
    assert_eq!(millis(".5s"), Ok(500));
    assert_eq!(millis("1.s"), Ok(1_000));
    assert_eq!(millis("1000µs"), Ok(1));
    for wrong in [
        "", "s", "1", "1s2", ".s", "-1s", "+1s", " 1s", "1 s", "1s ", "1d", "1S", "1e3s",
    ] {
        assert!(duration::parse(wrong).is_err(), "{wrong:?}");
    }
    assert_eq!(
        duration::parse_with_days("1d12h"),
        Ok(Duration::from_secs(36 * 3_600))
    );
    for wrong in ["1m30s", "500ms", ".5s", "1.s", "1d", "", "s", "-1s"] {
        assert_eq!(duration::parse_single(wrong), None, "{wrong:?}");
    }
}
