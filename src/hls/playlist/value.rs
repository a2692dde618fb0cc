//! What single values of a playlist mean (RFC 8216 section 4.2): numbers, seconds, dates.
//!
//! Pure: no I/O, no clock, no executor.

use std::time::Duration;

/// A decimal integer.
pub(super) fn integer(text: &str) -> Option<u64> {
    is_digits(text).then(|| text.parse().ok())?
}

/// Seconds as decimals without a sign, exact to the nanosecond, to which further digits are rounded.
pub(super) fn seconds(text: &str) -> Option<Duration> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if whole.len() + fraction.len() == 0 {
        return None;
    }
    let mut nanos = 0;
    for place in 0..10 {
        let digit = fraction.as_bytes().get(place).map_or(0, |byte| byte.wrapping_sub(b'0'));
        nanos = nanos * 10 + u64::from(digit);
    }
    let whole = if whole.is_empty() { 0 } else { integer(whole)? };
    let is_number = fraction.is_empty() || is_digits(fraction);
    is_number
        .then(|| Duration::from_secs(whole).checked_add(Duration::from_nanos((nanos + 5) / 10)))?
}

/// Seconds with a sign: whether they count backwards, and how many.
pub(super) fn signed_seconds(text: &str) -> Option<(bool, Duration)> {
    let digits = text.trim_start_matches(['-', '+']);
    (text.len() - digits.len() <= 1).then(|| Some((text.starts_with('-'), seconds(digits)?)))?
}

/// A length in bytes, and where it begins if that is said: `n[@o]`.
pub(super) fn byte_range(text: &str) -> Option<(u64, Option<u64>)> {
    let (length, offset) = text.split_once('@').unwrap_or((text, ""));
    let offset = match offset.trim() {
        "" => None,
        offset => Some(integer(offset)?),
    };
    Some((integer(length.trim())?, offset))
}

/// 128 bits as a hexadecimal sequence, with `0x` before it.
pub(super) fn hexadecimal(text: &str) -> Option<u128> {
    let digits = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X"))?;
    let is_number = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_number.then(|| u128::from_str_radix(digits, 16).ok())?
}

/// Milliseconds since 1970 of an ISO 8601 date, `YYYY-MM-DDThh:mm:ss[.fraction][zone]`; UTC where it
/// names no zone.
pub(super) fn date_unix_ms(text: &str) -> Option<i64> {
    let (date, time) = text.split_once(['T', 't', ' '])?;
    let [year, month, day] = fields(date, '-')?;
    let zone = time.find(['Z', 'z', '+', '-']).unwrap_or(time.len());
    let (clock, zone) = time.split_at(zone);
    let (clock, fraction) = clock.split_once('.').unwrap_or((clock, "0"));
    let [hour, minute, second] = fields(clock, ':')?;
    let is_a_time = (1..=12).contains(&month) && (1..=31).contains(&day);
    // A minute may have a leap second.
    if !is_a_time || year > 9999 || hour > 24 || minute > 59 || second > 60 {
        return None;
    }
    let of_day = (hour * 60 + minute - zone_minutes(zone)?) * 60 + second;
    let ms = i64::from(seconds(&format!("0.{fraction}"))?.subsec_millis());
    Some((days_since_1970(year, month, day) * 86_400 + of_day) * 1000 + ms)
}

/// East of UTC: of `Z`, `+hh`, `+hhmm` or `+hh:mm`.
fn zone_minutes(zone: &str) -> Option<i64> {
    let sign = match zone.bytes().next() {
        None | Some(b'Z' | b'z') => return (zone.len() <= 1).then_some(0),
        Some(b'-') => -1,
        Some(_) => 1,
    };
    let digits = zone[1..].replace(':', "");
    let number = i64::try_from(integer(&digits)?).ok()?;
    match digits.len() {
        2 => Some(sign * number * 60),
        4 => Some(sign * (number / 100 * 60 + number % 100)),
        _ => None,
    }
}

fn fields(text: &str, separator: char) -> Option<[i64; 3]> {
    let mut fields = text.split(separator).map(|field| i64::try_from(integer(field)?).ok());
    let three = [fields.next()??, fields.next()??, fields.next()??];
    fields.next().is_none().then_some(three)
}

/// Of the Gregorian calendar, by the days of 400 years, which begin in March so that a leap day is a last
/// one.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let year = if month < 3 { year - 1 } else { year };
    let month_from_march = (month + 9) % 12;
    let day_of_year = (153 * month_from_march + 2) / 5 + day - 1;
    let leap_days = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    year * 365 + leap_days + day_of_year - 719_468
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_are_exact() {
        let nanos = |text| seconds(text).map(|duration| duration.as_nanos());
        assert_eq!(nanos("9.009"), Some(9_009_000_000));
        assert_eq!(nanos("10"), Some(10_000_000_000));
        assert_eq!((nanos("4."), nanos(".5")), (Some(4_000_000_000), Some(500_000_000)));
        assert_eq!(nanos("0.3333333333333333"), Some(333_333_333));
        assert_eq!(nanos("1.99999999951"), Some(2_000_000_000));
        for text in ["", ".", "-1", "+1", "nan", "inf", "1e3", "1,5", "1.5.5", "1.-5", "1 ", "٣"] {
            assert_eq!(seconds(text), None, "{text:?}");
        }
        assert_eq!(seconds("18446744073709551615.9999999999"), None);
        assert_eq!(seconds("99999999999999999999"), None);
        let half = Duration::from_millis(500);
        assert_eq!(signed_seconds("-0.5"), Some((true, half)));
        assert_eq!((signed_seconds("+.5"), signed_seconds("--1")), (Some((false, half)), None));
    }

    #[test]
    fn numbers_have_digits_only() {
        assert_eq!(byte_range("10@5"), Some((10, Some(5))));
        assert_eq!(
            (byte_range("10@ "), byte_range("10 @ 5")),
            (Some((10, None)), Some((10, Some(5))))
        );
        for text in ["", "@5", "+1", "1@x", "1@2@3", "18446744073709551616"] {
            assert_eq!(byte_range(text), None, "{text:?}");
        }
        assert_eq!((hexadecimal("0XaF"), hexadecimal("0x0")), (Some(175), Some(0)));
        for text in ["", "0x", "12", "0x+1", &format!("0x1{}", "0".repeat(32))] {
            assert_eq!(hexadecimal(text), None, "{text:?}");
        }
    }

    #[test]
    fn dates_are_those_of_the_calendar() {
        for (text, ms) in [
            ("1970-01-01T00:00:00Z", 0),
            ("1969-12-31T23:59:59.999Z", -1),
            ("2010-02-19T14:54:23.031+08:00", 1_266_562_463_031),
            ("2000-02-29T00:00:00-0130", 951_787_800_000),
            ("2012-12-25T14:12:34.123Z", 1_356_444_754_123),
            ("2026-11-28 03:30:00", 1_795_836_600_000),
        ] {
            assert_eq!(date_unix_ms(text), Some(ms), "{text}");
        }
        for text in [
            "",
            "2010-13-01T00:00:00Z",
            "2010-01-01",
            "2010-01-01T00:00Z",
            "T",
            "2010-1T::",
            "2010-01-01T00:00:00Zulu",
            "2010-01-01T00:00:00+1",
            "99999-01-01T00:00:00Z",
            "2010-01-01T00:00:00.xZ",
            "2010-01-01T00:00:00+é",
        ] {
            assert_eq!(date_unix_ms(text), None, "{text}");
        }
    }
}
