//! Time as headers write it.

const DAY: i64 = 86_400;

/// Reads `2024-12-05T12:34:56Z`, with an optional fraction that is cut off (RFC 3339 section 5.6 in
/// UTC). `None` for anything else, other offsets and lower-case letters included.
pub(crate) fn parse_timestamp(text: &str) -> Option<i64> {
    let text = text.strip_suffix('Z')?;
    let (text, fraction) = text.split_once('.').unwrap_or((text, "0"));
    if !(1..=9).contains(&fraction.len()) || !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let (date, time) = text.split_once('T')?;
    let [year, month, day] = numbers(date, '-', [4, 2, 2])?;
    let [hour, minute, second] = numbers(time, ':', [2, 2, 2])?;
    let month_days = match month {
        4 | 6 | 9 | 11 => 30,
        2 if is_leap(year) => 29,
        2 => 28,
        1..=12 => 31,
        _ => return None,
    };
    if !(1..=month_days).contains(&day) || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    Some(days_from_civil(year, month, day) * DAY + hour * 3600 + minute * 60 + second)
}

/// Writes `2024-12-05T12:34:56Z`, for the years 0 to 9999; other times are written as their limits.
pub(crate) fn format_timestamp(seconds: i64) -> String {
    let seconds = seconds.clamp(-62_167_219_200, 253_402_300_799);
    let (days, second) = (seconds.div_euclid(DAY), seconds.rem_euclid(DAY));
    let (year, month, day) = civil_from_days(days);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// Three numbers of exactly these many digits.
fn numbers(text: &str, separator: char, digits: [usize; 3]) -> Option<[i64; 3]> {
    let mut parts = text.split(separator);
    let mut values = [0; 3];
    for (value, digits) in values.iter_mut().zip(digits) {
        let part = parts.next()?;
        if part.len() != digits || !part.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        *value = part.parse().ok()?;
    }
    parts.next().is_none().then_some(values)
}

fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

/// Days since 1970 of a date of the Gregorian calendar: years begin in March, so that the leap day
/// is their last.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// The inverse of [`days_from_civil`].
fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let of_era = days.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 {
        shifted + 3
    } else {
        shifted - 9
    };
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads() {
        for (text, seconds) in [
            ("1970-01-01T00:00:00Z", 0),
            ("2000-02-29T23:59:59Z", 951_868_799),
            ("2024-12-05T12:34:56Z", 1_733_402_096),
            ("2100-03-01T00:00:00Z", 4_107_542_400),
        ] {
            assert_eq!(parse_timestamp(text), Some(seconds), "{text}");
        }
        assert_eq!(
            parse_timestamp("2024-12-05T12:34:56.789Z"),
            Some(1_733_402_096)
        );
    }

    #[test]
    fn refuses_other_notations() {
        for text in [
            "",
            "Z",
            "2024-12-05",
            "2024-12-05 12:34:56Z",
            "2024-12-05T12:34:56",
            "2024-12-05T12:34:56z",
            "2024-12-05T12:34:56+00:00",
            "2024-12-05T12:34:56.Z",
            "2024-12-05T12:34:56.1234567890Z",
            "2024-13-05T12:34:56Z",
            "2024-00-05T12:34:56Z",
            "2023-02-29T12:34:56Z",
            "2024-12-32T12:34:56Z",
            "2024-12-05T24:00:00Z",
            "2024-12-05T12:60:00Z",
            "2024-12-05T12:34:60Z",
            "+024-12-05T12:34:56Z",
            "2024-12-05-01T12:34:56Z",
            "\u{0662}024-12-05T12:34:56Z",
        ] {
            assert_eq!(parse_timestamp(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_gives_a_value_or_none(text in any::<String>()) {
            let _ = parse_timestamp(&text);
        }

        #[test]
        fn what_is_written_is_read(seconds in -62_167_219_200_i64..=253_402_300_799) {
            prop_assert_eq!(parse_timestamp(&format_timestamp(seconds)), Some(seconds));
        }
    }
}
