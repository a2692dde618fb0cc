//! Whether a stored answer may be given again, and which answers may be stored: RFC 9111, for a
//! shared cache.
//!
//! Pure: no I/O, no clock, no executor.
//!
//! `directives` reads what messages say, `time` how old they are, `vary` for whom they are, and `fields`
//! is what of them is kept. Where the RFC leaves a choice:
//!
//! - Without explicit freshness a tenth of the time since `Last-Modified` counts, at most a day, and
//!   `media_ttl` where there is no such date (section 4.2.2 leaves that to the cache). For media,
//!   which seldom change, it is always `media_ttl`.
//! - What a client asks for in `Cache-Control` counts: it costs the origin one conditional request,
//!   however many clients ask at the same time.
//! - A stale answer is given while the origin cannot be reached (section 4.2.4 allows that to a
//!   cache that is disconnected), and where it answers 5xx only if `stale-if-error` says so. Media
//!   are given in both cases. `must-revalidate`, `proxy-revalidate` and `no-cache` forbid it;
//!   `s-maxage` does, unless `stale-if-error` allows it by name.
//! - Two values of a directive: the first counts. A value that is no number is 0; an `Age` that is
//!   none, or more than one, is that of something old.

mod directives;
mod fields;
mod time;
mod vary;

use http::{
    HeaderMap,
    header::{AUTHORIZATION, COOKIE, ETAG, EXPIRES, LAST_MODIFIED, SET_COOKIE},
};

pub use directives::Directives;
pub use fields::end_to_end;
use time::date;
pub use time::http_date;
use vary::varies_by_more_than_fields;
pub use vary::{is_selected, secondary, selecting};

use super::Head;

/// No guess of a lifetime is longer, in seconds.
const GUESS_SECONDS: u64 = 24 * 60 * 60;

/// What an answer is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Use {
    /// To be passed on as it came.
    Original,
    /// To be decoded, or looked into.
    Media,
}

/// What may be done with a stored answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is given.
    Fresh,
    /// It is given, and asked for anew behind that.
    Behind,
    /// It is asked for anew first.
    Stale,
}

/// A stored answer, at a moment, for a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Judgement {
    /// What may be done with it.
    pub verdict: Verdict,
    /// Its age in seconds.
    pub age: u64,
    /// Seconds for which it stays fresh; negative where it is not.
    pub ttl: i64,
}

/// How an attempt to ask anew failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// The origin answered with a status of 5xx.
    Answered,
    /// There was no answer.
    Unreachable,
}

/// Judges a stored answer for a request with `wishes`, at `now` in seconds of Unix time.
pub fn judge(head: &Head, use_: Use, wishes: &Directives, media_ttl: u64, now: u64) -> Judgement {
    let said = Directives::of(&head.fields);
    let (age, lifetime) = (head.age(now), lifetime(head, use_, media_ttl));
    let ttl = lifetime as i64 - age as i64;
    let is_wanted = match use_ {
        Use::Original => {
            !wishes.no_cache
                && wishes.max_age.is_none_or(|most| age <= most)
                && wishes.min_fresh.is_none_or(|least| ttl >= least as i64)
        }
        Use::Media => true,
    };
    let staleness = u64::try_from(-ttl).unwrap_or(0);
    let must_ask = said.no_cache || said.must_revalidate;
    let is_taken_stale = use_ == Use::Original
        && !must_ask
        && said.s_maxage.is_none()
        && wishes.max_stale.is_some_and(|most| staleness <= most);
    let is_lent = !must_ask && said.stale_while_revalidate.is_some_and(|most| staleness <= most);
    let verdict = match ttl > 0 && !said.no_cache {
        _ if !is_wanted => Verdict::Stale,
        true => Verdict::Fresh,
        false if is_taken_stale => Verdict::Fresh,
        false if is_lent => Verdict::Behind,
        false => Verdict::Stale,
    };
    Judgement { verdict, age, ttl }
}

/// Whether a stored answer may be given after an attempt to ask anew came to nothing.
pub fn survives(head: &Head, use_: Use, trouble: Trouble, media_ttl: u64, now: u64) -> bool {
    let said = Directives::of(&head.fields);
    if said.no_cache || said.must_revalidate {
        return false;
    }
    let staleness = head.age(now).saturating_sub(lifetime(head, use_, media_ttl));
    match (said.stale_if_error, trouble) {
        (Some(most), _) => staleness <= most,
        (None, _) if said.s_maxage.is_some() => false,
        (None, Trouble::Unreachable) => true,
        (None, Trouble::Answered) => use_ == Use::Media,
    }
}

/// How long an answer is fresh from its making, in seconds (section 4.2.1).
pub fn lifetime(head: &Head, use_: Use, media_ttl: u64) -> u64 {
    explicit_lifetime(head).unwrap_or_else(|| match use_ {
        Use::Media if head.status == 200 => media_ttl,
        _ => guessed_lifetime(head, media_ttl),
    })
}

fn explicit_lifetime(head: &Head) -> Option<u64> {
    let said = Directives::of(&head.fields);
    said.s_maxage.or(said.max_age).or_else(|| {
        let expires = head.fields.get(EXPIRES)?;
        // What is no date, `0` most of all, is a date in the past (section 5.3).
        Some(date(expires).map_or(0, |expires| expires.saturating_sub(head.made())))
    })
}

fn guessed_lifetime(head: &Head, media_ttl: u64) -> u64 {
    let is_public = Directives::of(&head.fields).public;
    if !is_guessable(head.status) && !is_public {
        return 0;
    }
    match head.fields.get(LAST_MODIFIED).and_then(date) {
        Some(modified) => (head.made().saturating_sub(modified) / 10).min(GUESS_SECONDS),
        // An error that says nothing of its life is over when it was said.
        None if head.status == 200 => media_ttl,
        None => 0,
    }
}

/// Who may have an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Share {
    /// Everybody, from the cache.
    Stored,
    /// Those who waited for it when it came.
    Waiting,
    /// The one who asked.
    Alone,
}

/// Who may have an answer (section 3). `asked` are the fields of the request that it answers.
///
/// What may not be stored only because nothing says how long it lasts, an error most of all, does
/// for all who waited for it: an origin that fails is not asked by each of them.
pub fn share(head: &Head, asked: &HeaderMap, use_: Use, media_ttl: u64) -> Share {
    let (said, wishes) = (Directives::of(&head.fields), Directives::of(asked));
    let knows = is_guessable(head.status) || matches!(head.status, 302 | 303 | 307);
    let no_store = if said.must_understand { !knows } else { said.no_store };
    let is_for_one = said.private
        || head.fields.contains_key(SET_COOKIE)
        || ((asked.contains_key(AUTHORIZATION) || asked.contains_key(COOKIE))
            && !said.public
            && !said.must_revalidate
            && said.s_maxage.is_none());
    if no_store || wishes.no_store || is_for_one || varies_by_more_than_fields(&head.fields) {
        return Share::Alone;
    }
    let may = said.public || explicit_lifetime(head).is_some() || is_guessable(head.status);
    let has_validator = head.fields.contains_key(ETAG) || head.fields.contains_key(LAST_MODIFIED);
    // What could neither be given again nor be validated is not worth its place.
    let is_of_use = head.status == 200 || has_validator || lifetime(head, use_, media_ttl) > 0;
    if may && is_of_use { Share::Stored } else { Share::Waiting }
}

/// The statuses whose lifetime may be guessed (RFC 9110 section 15.1).
fn is_guessable(status: u16) -> bool {
    matches!(status, 200 | 203 | 204 | 300 | 301 | 308 | 404 | 405 | 410 | 414 | 501)
}

#[cfg(test)]
mod tests {
    use http::{HeaderValue, header::CACHE_CONTROL};

    use super::{directives::LONGEST_SECONDS, *};

    pub(super) const NOW: u64 = 1_000_000_000;
    const TTL: u64 = 600;

    pub(super) fn fields(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let mut fields = HeaderMap::new();
        for (name, value) in pairs {
            fields.append(*name, HeaderValue::from_str(value).unwrap());
        }
        fields
    }

    /// An answer that came just now.
    pub(super) fn head(pairs: &[(&'static str, &str)]) -> Head {
        Head { fields: fields(pairs), asked: NOW, answered: NOW, ..Head::default() }
    }

    fn cache_control(text: &str) -> Head {
        head(&[("cache-control", text)])
    }

    fn after(head: &Head, seconds: u64) -> Verdict {
        judge(head, Use::Original, &Directives::default(), TTL, NOW + seconds).verdict
    }

    fn wishes(text: &str) -> Directives {
        Directives::of(&fields(&[("cache-control", text)]))
    }

    fn shared(head: &Head) -> Share {
        share(head, &HeaderMap::new(), Use::Original, TTL)
    }

    fn stored(head: &Head) -> bool {
        shared(head) == Share::Stored
    }

    #[test]
    fn an_answer_is_fresh_for_as_long_as_it_says() {
        for (text, life) in [
            ("max-age=60", 60),
            ("max-age=\"60\"", 60),
            ("MAX-AGE=60", 60),
            ("public,max-age=60 , max-age=5", 60),
            ("max-age=600, s-maxage=60", 60),
            ("a=\"max-age=7, \\\" s-maxage=9\", max-age=60", 60),
            ("max-age=99999999999999999999", LONGEST_SECONDS),
            ("max-age=sixty", 0),
            ("max-age=-1", 0),
            ("max-age=1.5", 0),
            ("max-age", 0),
        ] {
            assert_eq!(lifetime(&cache_control(text), Use::Original, TTL), life, "{text}");
        }
        assert_eq!(after(&cache_control("max-age=60"), 59), Verdict::Fresh);
        assert_eq!(after(&cache_control("max-age=60"), 60), Verdict::Stale);
    }

    #[test]
    fn a_date_of_expiry_counts_from_the_date_of_the_answer() {
        let at = |seconds: u64| http_date(seconds).to_str().unwrap().to_owned();
        let made = head(&[("date", &at(NOW - 100)), ("expires", &at(NOW + 200))]);
        assert_eq!(lifetime(&made, Use::Original, TTL), 300);
        assert_eq!((after(&made, 199), after(&made, 200)), (Verdict::Fresh, Verdict::Stale));
        assert_eq!(lifetime(&head(&[("expires", &at(NOW + 9))]), Use::Original, TTL), 9);
        for past in ["0", "never", "Thu, 01 Jan 1970 00:00:00 GMT"] {
            assert_eq!(lifetime(&head(&[("expires", past)]), Use::Original, TTL), 0, "{past}");
        }
        let both = head(&[("expires", &at(NOW + 9)), ("cache-control", "max-age=60")]);
        assert_eq!(lifetime(&both, Use::Original, TTL), 60);
    }

    #[test]
    fn without_a_word_of_it_freshness_is_guessed() {
        let at = |seconds: u64| http_date(seconds).to_str().unwrap().to_owned();
        let modified = |ago: u64| head(&[("last-modified", &at(NOW - ago))]);
        assert_eq!(lifetime(&modified(1000), Use::Original, TTL), 100);
        assert_eq!(lifetime(&modified(1000 * GUESS_SECONDS), Use::Original, TTL), GUESS_SECONDS);
        assert_eq!(lifetime(&modified(1000), Use::Media, TTL), TTL);
        assert_eq!(lifetime(&head(&[]), Use::Original, TTL), TTL);
        let not_found = Head { status: 404, ..head(&[]) };
        assert_eq!(lifetime(&not_found, Use::Original, TTL), 0);
        let forbidden = Head { status: 403, ..modified(1000) };
        assert_eq!(lifetime(&forbidden, Use::Original, TTL), 0);
    }

    #[test]
    fn what_must_be_asked_for_is_asked_for() {
        assert_eq!(after(&cache_control("no-cache, max-age=60"), 0), Verdict::Stale);
        assert_eq!(after(&cache_control("no-cache=\"set-cookie\", max-age=60"), 0), Verdict::Stale);
        let lent = cache_control("max-age=60, stale-while-revalidate=10");
        assert_eq!(after(&lent, 59), Verdict::Fresh);
        assert_eq!(after(&lent, 70), Verdict::Behind);
        assert_eq!(after(&lent, 71), Verdict::Stale);
        let strict = cache_control("max-age=60, stale-while-revalidate=10, must-revalidate");
        assert_eq!(after(&strict, 61), Verdict::Stale);
    }

    #[test]
    fn the_wishes_of_a_client_count() {
        let stored = cache_control("max-age=60");
        let judged = |wish: &str, seconds| {
            judge(&stored, Use::Original, &wishes(wish), TTL, NOW + seconds).verdict
        };
        assert_eq!(judged("no-cache", 0), Verdict::Stale);
        assert_eq!(
            (judged("max-age=10", 10), judged("max-age=10", 11)),
            (Verdict::Fresh, Verdict::Stale)
        );
        assert_eq!(
            (judged("min-fresh=10", 50), judged("min-fresh=10", 51)),
            (Verdict::Fresh, Verdict::Stale)
        );
        assert_eq!(
            (judged("max-stale=10", 70), judged("max-stale=10", 71)),
            (Verdict::Fresh, Verdict::Stale)
        );
        assert_eq!(judged("max-stale", 9999), Verdict::Fresh);
        let media = judge(&stored, Use::Media, &wishes("no-cache"), TTL, NOW);
        assert_eq!(media.verdict, Verdict::Fresh);
        let strict = cache_control("s-maxage=60");
        let judged = judge(&strict, Use::Original, &wishes("max-stale"), TTL, NOW + 61);
        assert_eq!(judged.verdict, Verdict::Stale);
        let pragma = Directives::of(&fields(&[("pragma", "No-Cache")]));
        assert!(pragma.no_cache && wishes("only-if-cached").only_if_cached);
    }

    #[test]
    fn a_failing_origin_leaves_what_may_be_left() {
        use Trouble::{Answered, Unreachable};
        let left = |text: &str, use_, trouble, seconds| {
            survives(&cache_control(text), use_, trouble, TTL, NOW + seconds)
        };
        assert!(left("max-age=1", Use::Original, Unreachable, 1000));
        assert!(!left("max-age=1", Use::Original, Answered, 2));
        assert!(left("max-age=1", Use::Media, Answered, 2));
        assert!(left("max-age=1, stale-if-error=9", Use::Original, Answered, 10));
        assert!(!left("max-age=1, stale-if-error=9", Use::Original, Unreachable, 11));
        assert!(left("s-maxage=1, stale-if-error=9", Use::Original, Answered, 10));
        for strict in ["must-revalidate", "proxy-revalidate", "no-cache", "s-maxage=1"] {
            let text = format!("max-age=1, {strict}");
            assert!(!left(&text, Use::Media, Unreachable, 2), "{strict}");
        }
    }

    #[test]
    fn only_what_may_be_shared_is_stored() {
        assert!(stored(&head(&[])) && stored(&cache_control("max-age=0")));
        for never in ["no-store", "private", "private=\"x\"", "No-Store, max-age=60"] {
            assert_eq!(shared(&cache_control(never)), Share::Alone, "{never}");
        }
        let understood = cache_control("no-store, must-understand, max-age=9");
        assert!(stored(&understood));
        assert_eq!(shared(&Head { status: 599, ..understood }), Share::Alone);
        let cookie = head(&[("set-cookie", "a=b"), ("cache-control", "max-age=9")]);
        assert_eq!(shared(&cookie), Share::Alone);
        assert_eq!(shared(&head(&[("vary", "accept, *")])), Share::Alone);
        let with = |asked: &[(&'static str, &str)], text| {
            share(&cache_control(text), &fields(asked), Use::Original, TTL) == Share::Stored
        };
        let secret = [("authorization", "Basic x")];
        assert!(!with(&secret, "max-age=60"));
        assert!(!with(&[("cookie", "id=1")], "max-age=60"), "as personal as a password");
        for shared in ["public", "s-maxage=60", "must-revalidate, max-age=60"] {
            assert!(with(&secret, shared), "{shared}");
        }
        assert!(!with(&[("cache-control", "no-store")], "max-age=60"));
    }

    #[test]
    fn a_status_is_stored_if_it_says_so_or_has_a_life_to_guess() {
        let with = |status, text: &str| stored(&Head { status, ..cache_control(text) });
        for status in [302, 307, 403, 404, 410, 500, 503] {
            assert!(with(status, "max-age=60"), "{status}");
            let silent = Head { status, ..cache_control("x") };
            assert_eq!(shared(&silent), Share::Waiting, "{status}");
        }
        let modified = http_date(NOW - 1000).to_str().unwrap().to_owned();
        let dated = |status| Head { status, ..head(&[("last-modified", &modified)]) };
        assert!(stored(&dated(404)) && stored(&dated(301)) && !stored(&dated(403)));
    }

    /// Bytes from outside: whatever they are, they are read to an end.
    #[test]
    fn any_text_is_read() {
        use crate::storage::random::Random;
        let mut random = Random(1);
        let parts =
            ["max-age", "=", ",", "\"", "\\", " ", "9", "no-store", "\t", ";", "é", "s-maxage"];
        for _ in 0..20_000 {
            let text: String =
                (0..8).map(|_| parts[random.below(parts.len() as u64) as usize]).collect();
            let mut fields = HeaderMap::new();
            fields.insert(CACHE_CONTROL, HeaderValue::from_bytes(text.as_bytes()).unwrap());
            let head = Head { fields, ..Head::default() };
            judge(&head, Use::Original, &Directives::default(), TTL, random.below(NOW));
        }
    }
}
