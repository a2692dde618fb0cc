//! Fetching again what the disk lost of a resource while it is read.
//!
//! A fill ends when all is there. What the disk then gives back changed, or not at all, is missing
//! under the hands of whoever reads it, who would wait for a fill that is not there.

use std::rc::Rc;

use super::{inquiry::begin_fill, stay::is_proven};
use crate::{
    assets::{Asset, AssetStore, Lease},
    net::{self, Provenance},
    storage::Failure,
};

/// Has what is lost of the resource fetched again, for as long as somebody reads it.
pub(super) fn attend(lease: &Lease, store: &Rc<AssetStore>, from: Provenance) {
    let (asset, store) = (Rc::downgrade(lease.asset()), Rc::downgrade(store));
    lease.resource.on_loss(move || {
        if let (Some(asset), Some(store)) = (asset.upgrade(), store.upgrade()) {
            refill(&asset, store, from.clone());
        }
    });
}

fn refill(asset: &Rc<Asset>, store: Rc<AssetStore>, from: Provenance) {
    // A fill that runs sees it by itself; and without a reader the next open begins one.
    let Some(permit) = asset.permit().filter(|_| asset.is_leased()) else { return };
    if !is_proven(asset) {
        // Nothing proves that what comes now belongs to what is here (RULES 7).
        store.forget(asset);
        return asset.resource.fail(Failure::new(net::Error::Changed));
    }
    begin_fill(permit, &store, from, None);
}
