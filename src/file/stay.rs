//! What of a resource stays in the cache when its fill ends.

use std::ops::Range;

use super::plan::JOIN_BYTES;
use crate::{
    assets::{Asset, Head},
    net::{self, Validator},
    storage::{self, Failure},
};

/// A resource is `length` bytes long. Where the cache keeps only a part of that, and nothing would prove
/// that the rest belongs to it, the part would not stay (RULES 7): then nothing has to leave for it.
///
/// # Errors
/// As [`set_length`](storage::StreamingResource::set_length).
pub(super) fn learn_length(asset: &Asset, length: u64) -> Result<(), storage::Error> {
    let resource = &asset.resource;
    let is_news = resource.length().is_none();
    resource.set_length(length)?;
    if !is_news || !resource.is_long() {
        return Ok(());
    }
    if !is_proven(asset) {
        resource.pass_through();
    }
    let kept_bytes = resource.share_left_bytes();
    // Without the query, which may hold a secret.
    let url = asset.key.url.split('?').next().unwrap_or_default();
    tracing::info!(
        url,
        length,
        kept_bytes,
        "longer than half a volume: the rest is not kept, and the origin asked for it each time"
    );
    Ok(())
}

/// Whether the bytes of a resource that were fetched stay when the rest is not: only what proves its
/// version is kept in part (RULES 7).
pub fn is_proven(asset: &Asset) -> bool {
    validator_of(&asset.head()).is_some()
}

/// What proves that other bytes are of the same version as those that `head` describes.
pub(super) fn validator_of(head: &Head) -> Option<Validator> {
    if head.unproven { None } else { Validator::of(&head.fields) }
}

/// How it stands with a resource for one who wants it from a position on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stand {
    /// What is here may be given to it, and what is missing comes.
    Good,
    /// It is sooner served by an answer of its own, and the others by this.
    Apart,
    /// Nobody can be served by it any more.
    Gone,
}

/// Whether what is here of a resource may be given to who wants it from `position` on, or no byte. What would
/// come now can be of another version than what a crash left of a fill, or a repair of a whole one (RULES 7); what
/// a fill that runs has fetched, and goes on to, cannot.
pub(super) fn stand(asset: &Asset, position: Option<u64>) -> Stand {
    let resource = &asset.resource;
    if is_proven(asset) || resource.is_complete() {
        return Stand::Good;
    }
    if !asset.is_filling() {
        return if resource.present_bytes() == 0 { Stand::Good } else { Stand::Gone };
    }
    let Some(position) = position.filter(|_| resource.is_cached()) else { return Stand::Good };
    let begins = asset.begins.get();
    let reached = resource.next_gap(begins..u64::MAX).map_or(u64::MAX, |gap| gap.start);
    if position < begins {
        Stand::Gone
    } else if position > reached.saturating_add(JOIN_BYTES) && !asset.is_without_parts.get() {
        Stand::Apart
    } else {
        Stand::Good
    }
}

/// Whether the cache keeps all of `range`, as far as can be told now.
pub fn stays(asset: &Asset, range: &Range<u64>) -> bool {
    let length = asset.resource.length();
    let is_all = range.start == 0 && length.is_none_or(|length| range.end >= length);
    asset.resource.keeps(range.clone()) && (is_all || is_proven(asset))
}

/// Whether the origin has another version than the one of which bytes are here, or may have: that one is
/// forgotten, and whoever opens it now gets another generation.
pub fn is_of_another_version(failure: &Failure) -> bool {
    let changed = matches!(failure.cause(), Some(net::Error::Changed));
    let contradicts = matches!(
        failure.cause(),
        Some(storage::Error::LengthChanged { .. } | storage::Error::PastEnd { .. })
    );
    changed || contradicts
}
