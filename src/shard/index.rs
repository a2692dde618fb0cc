//! Where the packets of a source lie, and how many frames they hold: found beside the source, by a scan,
//! or by the way when it is played; kept beside it for whoever comes later.

use std::rc::Rc;

use super::{Shard, promises::DECODER_BYTES, serve::SLICE, understand::Readable};
use crate::{
    assets::Key,
    decode::{self, Index, Info, Mode},
    hls::abr::VariantIndex,
    pcm::{self, KnownName, Maker, Work},
    runtime::{self, Queue},
};

/// A track of a version of a source, and where what is made of it lies.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub(super) key: Key,
    pub(super) name: KnownName,
    /// Of a presentation, so that what is made of one does not take the place of what is made of another.
    pub(super) variant: Option<VariantIndex>,
    /// It comes in parts, of which some may be missing at one time and there at another.
    pub(super) in_parts: bool,
    /// Others may have it too, so that what is made of it may be kept.
    pub(super) is_shared: bool,
}

impl Place {
    /// What something is called among the things that are made of the source.
    pub(super) fn called(&self, what: &str) -> String {
        match (self.variant, self.name.track) {
            (Some(variant), _) => format!("{what}.variant{variant}"),
            (None, None) => what.to_owned(),
            (None, Some(track)) => format!("{what}.{track}"),
        }
    }
}

impl Shard {
    /// Whether what was made of a source may be kept: not while it is unknown how long its parts are, and
    /// not where one of them was missing.
    pub(super) fn is_of_all(&self, place: &Place, is_torn: bool) -> bool {
        let known = || self.renditions.known(&place.name);
        let is_counted = || known().is_some_and(|known| known.info.frames.is_some());
        !is_torn && (!place.in_parts || is_counted())
    }

    /// Whether it is known how many frames a track has, be it since a start before this one.
    pub(super) async fn is_counted(&self, place: &Place) -> bool {
        match self.renditions.known(&place.name) {
            Some(known) => known.info.frames.is_some(),
            None => {
                let kept = self.kept_index(place).await;
                kept.is_some_and(|index| index.frames().is_some())
            }
        }
    }

    /// The index that was kept of this version of the source.
    pub(super) async fn kept_index(&self, place: &Place) -> Option<Rc<Index>> {
        if !place.is_shared {
            return None;
        }
        let store = self.files.store();
        let kept = store.derived(&place.key, &place.name.version, &place.called("index")).await;
        let index = Index::parse(&kept.ok().flatten()?);
        if index.is_none() {
            tracing::debug!(url = %place.key.url, "an index is damaged, and is made anew");
        }
        index.map(Rc::new)
    }

    /// More is known of a track than before: for the next listener, and for the next start.
    pub(super) fn learn_index(self: &Rc<Self>, place: &Place, index: &Rc<Index>) {
        if !self.renditions.learn_index(&place.name, index) || !place.is_shared {
            return;
        }
        let (shard, place, index) = (Rc::clone(self), place.clone(), Rc::clone(index));
        let kept = async move { shard.keep_index(&place, &index).await };
        runtime::spawn(Queue::Background, "keep index", kept).detach();
    }

    /// The same where nobody has asked what the source is: it is kept when this returns.
    pub(super) async fn learn_index_ahead(&self, place: &Place, index: &Rc<Index>) {
        self.renditions.learn_index(&place.name, index);
        if place.is_shared {
            self.keep_index(place, index).await;
        }
    }

    async fn keep_index(&self, place: &Place, index: &Index) {
        let (store, bytes) = (self.files.store(), index.to_bytes());
        store.keep_derived(&place.key, &place.name.version, &place.called("index"), &bytes).await;
    }

    /// Passes the packets of a source whose container does not say how long it is, if it is here or
    /// small, and as far as the time suffices. What was found out of it may be less than all.
    pub(super) async fn scan(
        self: &Rc<Self>,
        readable: &Readable,
        info: &Info,
        track: Option<u32>,
        known: Option<Rc<Index>>,
    ) -> Option<Rc<Index>> {
        let is_known = known.as_ref().is_some_and(|index| index.frames().is_some());
        if info.frames.is_some() || is_known || !self.is_worth_a_scan(readable) {
            return None;
        }
        let _memory = self.promises.give(DECODER_BYTES).ok()?;
        let reader = readable.input_to_count(self);
        let ask = decode::Ask { track, index: known, mode: Mode::Scan, ..Default::default() };
        let mut scan = Maker::new(reader, &self.stacks, &self.pool, ask).ok()?;
        let passed = runtime::timeout(self.options.scan_wait, self.pass(&mut scan)).await;
        if let Ok(Err(error)) = passed {
            tracing::debug!(%error, "a scan ended early");
        }
        scan.index()
    }

    async fn pass(&self, scan: &mut Maker) -> Result<(), pcm::Error> {
        while !matches!(self.work_first(scan).await?, Work::End) {}
        Ok(())
    }

    /// Has a decoder work, in the turns of those who have had nothing yet, until something comes of it.
    pub(super) async fn work_first(&self, maker: &mut Maker) -> Result<Work, pcm::Error> {
        loop {
            let turn = self.first.wait(0).await;
            let work = maker.work(runtime::now() + SLICE)?;
            drop(turn);
            match work {
                Work::Starved => maker.fetch().await?,
                Work::Slice => runtime::yield_if_needed().await,
                work => return Ok(work),
            }
        }
    }

    fn is_worth_a_scan(&self, readable: &Readable) -> bool {
        !self.options.scan_wait.is_zero() && readable.is_countable(self.options.scan_bytes)
    }
}
