//! Finding out what a source is: once, for all who ask.

use std::{rc::Rc, time::Duration};

use super::{Refusal, Shard, index::Place, listen::Fresh, promises::DECODER_BYTES};
use crate::{
    decode::{self, Index, Info},
    file::Opened,
    pcm::{self, Knowledge, Known, KnownName, Maker, SourceName},
};

/// A source of which it is known what it is.
pub(super) struct Understood {
    pub(super) known: Rc<Known>,
    pub(super) opened: Opened,
    pub(super) place: Place,
    /// What found it out, if that was this session.
    pub(super) fresh: Option<Fresh>,
    /// The time of the core that it took.
    pub(super) decode: Duration,
}

/// Opens a source and finds out what a track of it is, unless that is known.
///
/// # Errors
/// A source that is not there or cannot be decoded, and that there is no room to try.
pub(super) async fn understand(
    shard: &Rc<Shard>,
    source: &SourceName,
    track: Option<u32>,
) -> Result<Understood, Refusal> {
    let opened = shard.files.open(&source.name, &source.path).await?;
    let place = place(shard, source, &opened, track)?;
    let mine = loop {
        match shard.renditions.knowledge(&place.name) {
            Knowledge::Known(known) => {
                let known = shard.count_again(&opened, &place, known).await;
                let (fresh, decode) = (None, Duration::ZERO);
                return Ok(Understood { known, opened, place, fresh, decode });
            }
            Knowledge::Theirs(attempt) => attempt.ended().await?,
            Knowledge::Mine(mine) => break mine,
        }
    };
    let memory = shard.promise_decoder(DECODER_BYTES).await?;
    let index = shard.kept_index(&place).await;
    let (mut maker, info) = match open(shard, &opened, track, index.clone()).await {
        Ok(understood) => understood,
        Err(error) => {
            mine.fail(&error);
            return Err(error.into());
        }
    };
    let scanned = shard.scan(&opened, &info, track, index.clone()).await;
    let known = mine.learn(Known::new(info, index));
    let known = shard.learnt(&place, known, scanned);
    let decode = maker.take_cost();
    Ok(Understood { known, opened, place, fresh: Some(Fresh { maker, memory }), decode })
}

/// Where a track of a source that is open belongs.
pub(super) fn place(
    shard: &Shard,
    source: &SourceName,
    opened: &Opened,
    track: Option<u32>,
) -> Result<Place, Refusal> {
    let is_shared = opened.lease().is_none_or(|lease| lease.is_shared());
    let key = match opened.lease() {
        Some(lease) => lease.key.clone(),
        None => shard.files.key(&source.name, &source.path)?,
    };
    Ok(Place { key, name: KnownName { version: version(opened), track }, is_shared })
}

/// The version of a source. What is for one client alone is a version of its own, though its origin may
/// call it as it calls others: nobody listens to it together with others.
fn version(opened: &Opened) -> String {
    match opened.lease().filter(|lease| !lease.is_shared()) {
        Some(alone) => format!("{} {:?}", opened.version, alone.generation),
        None => opened.version.clone(),
    }
}

async fn open(
    shard: &Shard,
    opened: &Opened,
    track: Option<u32>,
    index: Option<Rc<Index>>,
) -> Result<(Maker, Info), pcm::Error> {
    let reader = shard.reader(&opened.source);
    let ask = decode::Ask { track, index, ..Default::default() };
    let mut maker = Maker::new(reader, &shard.stacks, &shard.pool, ask)?;
    shard.work_first(&mut maker).await?;
    let info = maker.info().cloned().ok_or(decode::Error::NotMedia)?;
    Ok((maker, info))
}

impl Shard {
    /// What is known once a scan has ended.
    fn learnt(
        self: &Rc<Self>,
        place: &Place,
        known: Rc<Known>,
        scanned: Option<Rc<Index>>,
    ) -> Rc<Known> {
        let Some(index) = scanned else { return known };
        self.learn_index(place, &index);
        self.renditions.known(&place.name).unwrap_or(known)
    }

    /// Where nobody could count the packets before, they may be here by now.
    async fn count_again(
        self: &Rc<Self>,
        opened: &Opened,
        place: &Place,
        known: Rc<Known>,
    ) -> Rc<Known> {
        if known.info.frames.is_some() || !opened.source.is_here() {
            return known;
        }
        // Who comes while another counts does not wait for it.
        let Some(counting) = known.counting() else { return known };
        let index = known.index.borrow().clone();
        let scanned = self.scan(opened, &known.info, place.name.track, index).await;
        if scanned.is_none() {
            counting.was_in_vain();
        }
        self.learnt(place, known, scanned)
    }
}
