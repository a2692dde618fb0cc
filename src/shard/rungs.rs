//! The variants of a presentation as one session has them, and the way to what is played of each.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    rc::Rc,
};

use url::Url;

use super::{
    By, Refusal, Shard,
    presentation::Presentation,
    understand::{Count, Readable, Understood, understand_opened},
};
use crate::{
    hls::{
        Variants,
        abr::{Estimate, Mode, VariantIndex},
    },
    pcm::{Choice, SourceName},
};

/// Playlists of variants that are kept: of who goes from one to another and back none is read again.
const KEPT: usize = 4;

/// A rung, in one of its copies that are as good as each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pick {
    pub(super) rung: VariantIndex,
    pub(super) copy: u8,
}

/// The variants of a presentation that is open.
pub(super) struct Rungs {
    shard: Rc<Shard>,
    source: SourceName,
    mode: Mode,
    variants: Rc<Variants>,
    /// What was played first.
    readable: Readable,
    /// What is played of those that were wanted last.
    kept: RefCell<VecDeque<(Pick, Rc<Presentation>)>>,
    /// By rung: the copy that is left.
    copies: Vec<Cell<u8>>,
}

impl Rungs {
    /// Those of what is open. `None`: there is nothing to choose.
    pub(super) fn of(
        shard: &Rc<Shard>,
        source: &SourceName,
        choice: &Choice,
        readable: &Readable,
    ) -> Option<Self> {
        let presentation = readable.presentation()?;
        let variants = presentation.variants()?;
        let rung = variants.rung(presentation.variant()?)?;
        let pick = Pick { rung, copy: presentation.copy() };
        let copies: Vec<_> = variants.rungs().map(|_| Cell::new(0)).collect();
        copies[usize::from(rung.0)].set(pick.copy);
        Some(Self {
            shard: Rc::clone(shard),
            source: source.clone(),
            mode: choice.variant,
            variants,
            readable: readable.clone(),
            kept: RefCell::new([(pick, Rc::clone(presentation))].into()),
            copies,
        })
    }

    pub(super) fn shard(&self) -> &Rc<Shard> {
        &self.shard
    }

    /// The playlist that names the variants.
    pub(super) fn source(&self) -> &SourceName {
        &self.source
    }

    pub(super) fn variants(&self) -> &Variants {
        &self.variants
    }

    /// Which of them may be chosen.
    pub(super) fn mode(&self) -> Mode {
        self.mode
    }

    /// What is expected of where the segments of a pick lie, if anything came from there; else of where its playlist
    /// does.
    pub(super) fn estimate(&self, pick: Pick) -> Option<Estimate> {
        let segment = self.peek(pick).and_then(|presentation| presentation.parts().resource(0));
        let expected = |url: &Url| self.shard.expected(&self.source, url);
        let of_segments = segment.and_then(|segment| expected(&segment.url));
        let url = self.variants.urls(pick.rung).get(usize::from(pick.copy));
        of_segments.or_else(|| expected(url?))
    }

    /// What was played first.
    pub(super) fn first(&self) -> Pick {
        let presentation = self.readable.presentation();
        let number = presentation.and_then(|presentation| presentation.variant());
        let rung = number.and_then(|number| self.variants.rung(number)).unwrap_or(VariantIndex(0));
        Pick { rung, copy: presentation.map_or(0, |presentation| presentation.copy()) }
    }

    /// A rung in the copy that is left of it.
    pub(super) fn pick(&self, rung: VariantIndex) -> Pick {
        Pick { rung, copy: self.copies[usize::from(rung.0)].get() }
    }

    /// A copy of a rung cannot be played. Says whether there is another.
    pub(super) fn lose(&self, pick: Pick) -> bool {
        self.kept.borrow_mut().retain(|(kept, _)| *kept != pick);
        let left = &self.copies[usize::from(pick.rung.0)];
        // One that was lost before says nothing of the next.
        if left.get() == pick.copy {
            left.set(pick.copy.saturating_add(1));
        }
        usize::from(left.get()) < self.variants.urls(pick.rung).len()
    }

    /// All copies are tried once more.
    pub(super) fn try_all(&self) {
        self.copies.iter().for_each(|copy| copy.set(0));
    }

    /// What is played of a pick.
    pub(super) async fn presentation(&self, pick: Pick) -> Result<Rc<Presentation>, Refusal> {
        if let Some(kept) = self.kept(pick) {
            return Ok(kept);
        }
        let (source, of) = (&self.source, (pick.rung, pick.copy));
        let found = self.shard.media_playlist(source, &self.variants, of, By::Node).await?;
        let found = Rc::new(found);
        let mut kept = self.kept.borrow_mut();
        kept.truncate(KEPT - 1);
        kept.push_front((pick, Rc::clone(&found)));
        Ok(found)
    }

    /// The same if it was read.
    fn kept(&self, pick: Pick) -> Option<Rc<Presentation>> {
        let mut kept = self.kept.borrow_mut();
        let at = kept.iter().position(|(kept, _)| *kept == pick)?;
        let found = kept.remove(at)?;
        let presentation = Rc::clone(&found.1);
        kept.push_front(found);
        Some(presentation)
    }

    /// The same where nobody wants to play it now.
    pub(super) fn peek(&self, pick: Pick) -> Option<Rc<Presentation>> {
        let kept = self.kept.borrow();
        kept.iter().find(|(kept, _)| *kept == pick).map(|(_, found)| Rc::clone(found))
    }

    /// All that were read.
    pub(super) fn all_kept(&self) -> Vec<(Pick, Rc<Presentation>)> {
        self.kept.borrow().iter().cloned().collect()
    }

    /// What is known of a pick, which is found out if it is not.
    pub(super) async fn understand(&self, pick: Pick, count: Count) -> Result<Understood, Refusal> {
        let readable = self.readable.playing(self.presentation(pick).await?);
        understand_opened(&self.shard, &self.source, readable, (None, count)).await
    }

    /// The same of what is open, or of another where that does not play.
    pub(super) async fn understand_any(&self, readable: Readable) -> Result<Understood, Refusal> {
        let mut pick = self.first();
        let how = (None, Count::IfHere);
        let mut understood = understand_opened(&self.shard, &self.source, readable, how).await;
        let (mut lost, mut first) = (Vec::new(), None);
        loop {
            match understood {
                Err(refusal) if is_of_variant(&refusal) => {
                    first.get_or_insert(refusal);
                }
                understood => return understood,
            }
            if !self.lose(pick) {
                lost.push(pick.rung);
            }
            match self.variants.choose(self.mode, self.estimate(pick), &lost) {
                Ok(rung) => pick = self.pick(rung),
                Err(error) => return Err(first.unwrap_or(error.into())),
            }
            understood = self.understand(pick, Count::IfHere).await;
        }
    }
}

/// Whether another variant may be had where one is refused so.
pub(super) fn is_of_variant(refusal: &Refusal) -> bool {
    !refusal.is_of_node() && !refusal.is_of_another_version()
}
