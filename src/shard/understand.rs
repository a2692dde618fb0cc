//! Finding out what a source is: once, for all who ask.

use std::{rc::Rc, time::Duration};

use super::{
    By, Refusal, Shard, ahead::Ahead, index::Place, listen::Fresh, presentation::Presentation,
    promises::DECODER_BYTES, rungs::Rungs,
};
use crate::{
    decode::{self, Index, Info},
    file::Opened,
    hls::{Offer, abr::VariantIndex},
    pcm::{self, Choice, Input, Knowledge, Known, KnownName, Maker, SourceName},
};

/// A source of which it is known what it is.
pub(super) struct Understood {
    pub(super) known: Rc<Known>,
    pub(super) readable: Readable,
    pub(super) place: Place,
    /// What found it out, if that was this session.
    pub(super) fresh: Option<Fresh>,
    /// The time of the core that it took.
    pub(super) decode: Duration,
}

/// A source that can be read now. A clone is another handle to the same version.
#[derive(Clone)]
pub(super) struct Readable {
    /// The lease on it lives as long as this. Its version is that of what is played.
    pub(super) opened: Opened,
    /// What is played, where it is a playlist.
    presentation: Option<Rc<Presentation>>,
}

impl Readable {
    /// Opens a source, and what is played of it. Says which track of that.
    pub(super) async fn open(
        shard: &Rc<Shard>,
        source: &SourceName,
        choice: &Choice,
    ) -> Result<(Self, Option<u32>), Refusal> {
        let mut opened = shard.files.open(&source.name, &source.path).await?;
        let presentation = shard.presentation(source, &opened, choice).await?;
        let track = match &presentation {
            Some(presentation) => {
                presentation.version().clone_into(&mut opened.version);
                None
            }
            None => choice.of_file()?,
        };
        Ok((Self { opened, presentation }, track))
    }

    /// The same source with something else played of it.
    pub(super) fn playing(&self, presentation: Rc<Presentation>) -> Self {
        let mut opened = self.opened.clone();
        presentation.version().clone_into(&mut opened.version);
        Self { opened, presentation: Some(presentation) }
    }

    /// What is open and no playlist.
    pub(super) fn of_file(opened: Opened) -> Self {
        Self { opened, presentation: None }
    }

    /// Reads it from the start.
    pub(super) fn input(&self, shard: &Rc<Shard>) -> Input {
        match &self.presentation {
            Some(presentation) => presentation.reader(shard, By::Node),
            None => shard.reader(&self.opened.source).into(),
        }
    }

    /// Reads it to count its packets; of a presentation what is here.
    pub(super) fn input_to_count(&self, shard: &Rc<Shard>) -> Input {
        match &self.presentation {
            Some(presentation) => presentation.reader(shard, By::NodeIfCached),
            None => self.input(shard),
        }
    }

    /// Whether its packets can be counted without a fetch that goes on for long: all of it is here, or it has
    /// at most so many bytes, or what is not here is not fetched for that.
    pub(super) fn is_countable(&self, bytes: u64) -> bool {
        let source = &self.opened.source;
        let is_small = || source.length().is_some_and(|length| length <= bytes);
        self.presentation.is_some() || source.is_here() || is_small()
    }

    /// What is played, where it is a playlist.
    pub(super) fn presentation(&self) -> Option<&Rc<Presentation>> {
        self.presentation.as_ref()
    }

    /// Fetches ahead of who listens to it, where it comes in segments.
    pub(super) fn ahead(&self, shard: &Rc<Shard>) -> Option<Ahead> {
        self.presentation.as_ref().map(|presentation| Ahead::new(shard, presentation))
    }

    /// What there is to choose from.
    pub(super) fn offer(&self) -> Offer {
        self.presentation.as_ref().map(|presentation| presentation.offer()).unwrap_or_default()
    }

    /// Which variant of a presentation it is.
    pub(super) fn variant(&self) -> Option<VariantIndex> {
        self.presentation.as_ref().and_then(|presentation| presentation.variant())
    }
}

/// Opens a source and finds out what a track of it is, unless that is known.
///
/// # Errors
/// A source that is not there or cannot be decoded, and that there is no room to try.
pub(super) async fn understand(
    shard: &Rc<Shard>,
    source: &SourceName,
    choice: &Choice,
) -> Result<Understood, Refusal> {
    let (readable, track) = Readable::open(shard, source, choice).await?;
    match Rungs::of(shard, source, choice, &readable) {
        Some(rungs) => rungs.understand_any(readable).await,
        None => understand_opened(shard, source, readable, (track, Count::IfHere)).await,
    }
}

/// Whether packets are counted where nobody knows how many there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Count {
    /// As far as they are here.
    IfHere,
    /// What is played has no length in any case.
    Never,
}

/// The same of a track of a source that is open.
///
/// # Errors
/// As there.
pub(super) async fn understand_opened(
    shard: &Rc<Shard>,
    source: &SourceName,
    readable: Readable,
    (track, count): (Option<u32>, Count),
) -> Result<Understood, Refusal> {
    let place = place(shard, source, &readable, track)?;
    let mine = loop {
        match shard.renditions.knowledge(&place.name) {
            Knowledge::Known(mut known) => {
                if count == Count::IfHere {
                    known = shard.count_again(&readable, &place, known).await;
                }
                let (fresh, decode) = (None, Duration::ZERO);
                return Ok(Understood { known, readable, place, fresh, decode });
            }
            Knowledge::Theirs(attempt) => attempt.ended().await?,
            Knowledge::Mine(mine) => break mine,
        }
    };
    let memory = shard.promise_decoder(DECODER_BYTES).await?;
    let index = shard.kept_index(&place).await;
    let (mut maker, info) = match open(shard, &readable, track, index.clone()).await {
        Ok(understood) => understood,
        Err(error) => {
            mine.fail(&error);
            return Err(error.into());
        }
    };
    let scanned = match count {
        Count::IfHere => shard.scan(&readable, &info, track, index.clone()).await,
        Count::Never => None,
    };
    let known = mine.learn(Known::new(info, index));
    let known = shard.learnt(&place, known, scanned);
    let decode = maker.take_cost();
    Ok(Understood { known, readable, place, fresh: Some(Fresh { maker, memory }), decode })
}

/// Where a track of a source that is open belongs.
pub(super) fn place(
    shard: &Shard,
    source: &SourceName,
    readable: &Readable,
    track: Option<u32>,
) -> Result<Place, Refusal> {
    place_of(shard, source, &readable.opened, readable.presentation.as_deref(), track)
}

/// The same of what is played of it.
pub(super) fn place_of(
    shard: &Shard,
    source: &SourceName,
    opened: &Opened,
    presentation: Option<&Presentation>,
    track: Option<u32>,
) -> Result<Place, Refusal> {
    let variant = presentation.and_then(Presentation::variant);
    let in_parts = presentation.is_some();
    let is_shared = opened.lease().is_none_or(|lease| lease.is_shared());
    let key = match opened.lease() {
        Some(lease) => lease.key.clone(),
        None => shard.files.key(&source.name, &source.path)?,
    };
    let name = KnownName { version: version(opened), track };
    Ok(Place { key, name, variant, in_parts, is_shared })
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
    shard: &Rc<Shard>,
    readable: &Readable,
    track: Option<u32>,
    index: Option<Rc<Index>>,
) -> Result<(Maker, Info), pcm::Error> {
    let ask = decode::Ask { track, index, ..Default::default() };
    let mut maker = Maker::new(readable.input(shard), &shard.stacks, &shard.pool, ask)?;
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
        readable: &Readable,
        place: &Place,
        known: Rc<Known>,
    ) -> Rc<Known> {
        if known.info.frames.is_some() || !readable.is_countable(0) {
            return known;
        }
        // Who comes while another counts does not wait for it.
        let Some(counting) = known.counting() else { return known };
        let index = known.index.borrow().clone();
        let scanned = self.scan(readable, &known.info, place.name.track, index).await;
        // Of what comes in parts, more may be here another time.
        if scanned.is_none() && !place.in_parts {
            counting.was_in_vain();
        }
        self.learnt(place, known, scanned)
    }
}
